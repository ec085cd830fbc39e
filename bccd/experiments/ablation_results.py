"""What the trainings of an ablation reached on validation data, and its table."""

import json
from pathlib import Path
from statistics import mean

from tabulate import tabulate

from bccd.data.classes import CLASS_NAMES

_METRICS = ("AP", "AP50", "AP75", *(f"AP-{name}" for name in CLASS_NAMES))
_HEADERS = ("", "AP", "change", "AP50", "AP75", *CLASS_NAMES, "best AP", "seeds", "minutes")


def read_validations(folder: Path) -> dict:
    """The validations of one training, its length and its time.

    Args:
        folder (Path): OUTPUT_DIR; its metrics.json is read.

    Returns:
        dict: ``iterations``; ``seconds`` of the training steps, validation not included; ``last``
        and ``best`` (by AP) validation: ``iteration``, AP, AP50, AP75 and AP per class in percent,
        None where there is no ground truth.

    Raises:
        ValueError: there was no validation.
    """
    # A resumed training repeats what came after its checkpoint: the later record counts.
    records = {}
    for line in (folder / "metrics.json").read_text().splitlines():
        record = json.loads(line)
        records.setdefault(record["iteration"], {}).update(record)
    records = [records[iteration] for iteration in sorted(records)]
    validations = [
        {"iteration": r["iteration"], **{name: r.get(f"bbox/{name}") for name in _METRICS}}
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
        results (dict): ``config``, ``budget`` ({key: value}) and ``rows``, a list of ``name``,
            ``note`` and ``runs``; a run is what :func:`read_validations` returns and ``seed``,
            ``commits`` and ``machine``. The first row is the baseline.

    Returns:
        str.
    """
    rows = [_cells(row, results["rows"][0]) for row in results["rows"]]
    runs = [run for row in results["rows"] for run in row["runs"]]
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
    table = tabulate(rows, _HEADERS, tablefmt="pipe", disable_numparse=True)
    return f"{caption}\n\n{table}\n"


def _machine(machine):
    threads = f"{machine['threads']} thread" + "s" * (machine["threads"] > 1)
    return f"{machine['device']}, {threads}, torch {machine['torch']}"


def _cells(row, baseline):
    name = f"{row['name']} ({row['note']})" if row["note"] else row["name"]
    runs = row["runs"]
    if not runs:
        return [name, "not trained"]
    return [
        name,
        _mean_and_range([run["last"]["AP"] for run in runs]),
        "" if row is baseline else _change(runs, baseline["runs"]),
        *(_mean([run["last"][metric] for run in runs]) for metric in _METRICS[1:]),
        _mean([run["best"]["AP"] for run in runs]),
        str(len(runs)),
        f"{mean(run['seconds'] for run in runs) / 60:.0f}",
    ]


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
