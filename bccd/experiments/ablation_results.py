"""What the trainings of an ablation reached on validation data, and its table."""

import json
from pathlib import Path
from statistics import mean

from tabulate import tabulate

_METRICS = ("AP", "AP50", "AP75")
_OF_CLASS = "AP-"


def read_validations(folder: Path) -> dict:
    """The validations of one training, its length and its time.

    Args:
        folder: OUTPUT_DIR; its metrics.json is read.

    Returns:
        dict: ``iterations``; ``seconds`` of the training steps, validation not included; ``last``
        and ``best`` (by AP) validation: ``iteration``, AP, AP50, AP75 and AP per class in percent,
        None where there is no ground truth. A class that never had any is left out.

    Raises:
        ValueError: there was no validation.
    """
    # A resumed training repeats what came after its checkpoint: the later record counts.
    records = {}
    for line in (folder / "metrics.json").read_text().splitlines():
        record = json.loads(line)
        records.setdefault(record["iteration"], {}).update(record)
    records = [records[iteration] for iteration in sorted(records)]
    of_classes = (key.removeprefix("bbox/") for r in records for key in r)
    metrics = dict.fromkeys([*_METRICS, *(k for k in of_classes if k.startswith(_OF_CLASS))])
    validations = [
        {"iteration": r["iteration"], **{name: r.get(f"bbox/{name}") for name in metrics}}
        for r in records
        if "bbox/AP" in r
    ]
    if not validations:
        raise ValueError(f"{folder / 'metrics.json'} has no bbox/AP of a validation")
    steps = [r for r in records if "total_loss" in r]
    return {
        "iterations": steps[-1]["iteration"] + 1,
        "seconds": _seconds(steps),
        "last": validations[-1],
        "best": max(validations, key=lambda validation: validation["AP"]),
    }


def _seconds(steps):
    """Each record's median time of a step, for all steps since the record before."""
    total, previous = 0.0, -1
    for record in steps:
        total += record.get("time", 0.0) * (record["iteration"] - previous)
        previous = record["iteration"]
    return total


def ablation_table(results: dict) -> str:
    """The table as Markdown, with a line that says what it shows.

    Args:
        results: ``config``, ``budget`` ({key: value}) and ``rows``, a list of ``name``,
            ``note``, ``runs`` and, if there are, ``unfinished`` ones; a run is what
            :func:`read_validations` returns and ``seed``, ``commits`` and ``machine``. The first
            row is the baseline.

    Returns:
        str.
    """
    runs = [run for row in results["rows"] for run in row["runs"]]
    per_class = [key for run in runs for key in run["last"] if key.startswith(_OF_CLASS)]
    metrics = list(dict.fromkeys([*_METRICS[1:], *per_class]))
    rows = [_cells(row, results["rows"][0], metrics) for row in results["rows"]]
    budget = ", ".join(f"{key} {value}" for key, value in results["budget"].items())
    caption = (
        f"`{results['config']}` with {budget}. Percent on the validation images after the last "
        "iteration, mean [lowest, highest] of the seeds; change: AP against the first row, same "
        "seeds. Minutes: of the training steps."
    )
    if runs:
        commits = sorted({commit[:10] for run in runs for commit in run["commits"]})
        machines = sorted({_machine(run["machine"]) for run in runs})
        caption += f" Commit {', '.join(commits)}; {'; '.join(machines)}."
    names = [metric.removeprefix(_OF_CLASS) for metric in metrics]
    headers = ["", "AP", "change", *names, "best AP", "seeds", "minutes"]
    table = tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
    return f"{caption}\n\n{table}\n"


def _machine(machine):
    threads = f"{machine['threads']} thread" + "s" * (machine["threads"] > 1)
    return f"{machine['device']}, {threads}, torch {machine['torch']}"


def _cells(row, baseline, metrics):
    name = f"{row['name']} ({row['note']})" if row["note"] else row["name"]
    runs = row["runs"]
    if not runs:
        ended = "; ".join(_ended(run) for run in row.get("unfinished", []))
        return [name, ended or "not trained"]
    return [
        name,
        _mean_and_range([run["last"]["AP"] for run in runs]),
        "" if row is baseline else _change(runs, baseline["runs"]),
        *(_mean([run["last"].get(metric) for run in runs]) for metric in metrics),
        _mean([run["best"]["AP"] for run in runs]),
        str(len(runs)),
        f"{mean(run['seconds'] for run in runs) / 60:.0f}",
    ]


def _ended(run):
    return f"ended after iteration {run['iterations']}, best AP {run['best']['AP']:.1f}"


def _change(runs, baseline_runs):
    """Mean difference over the seeds that both have."""
    baseline = {run["seed"]: run["last"]["AP"] for run in baseline_runs}
    changes = [r["last"]["AP"] - baseline[r["seed"]] for r in runs if r["seed"] in baseline]
    return f"{mean(changes):+.1f}" if changes else ""


def _mean(values):
    return "n/a" if None in values else f"{mean(values):.1f}"


def _mean_and_range(values):
    if len(values) == 1:
        return _mean(values)
    return f"{_mean(values)} [{min(values):.1f}, {max(values):.1f}]"
