#!/usr/bin/env python3
"""Train the rows of an ablation at one budget and write their table.

    python tools/ablate.py configs/ablations/sparse_rcnn_lite.yaml
    python tools/ablate.py configs/ablations/sparse_rcnn_lite.yaml --rows baseline "grid proposals"
    python tools/ablate.py configs/ablations/sparse_rcnn_lite.yaml --collect

The file names a ``config``, the ``budget`` (options that every row shares and none may change),
``seeds`` and ``rows``; a row has a ``name``, ``options`` and, optionally, the earlier row ``base``
whose options it adds to, and a ``note`` for the table. The first row is the baseline.

Each row and seed is a ``train_net.py --resume`` of its own in output/ablations/<file>/<row>/<seed>,
with its output in ``train.out`` there. A finished one is left as it is, a killed one goes on; several
processes given the same file share the work. What is finished is then collected from these folders
into results/ablations/<file>.json and .md: validation only, no test data are read.
"""

import argparse
import contextlib
import fcntl
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import yaml
from tabulate import tabulate

from bccd.config import CLASS_NAMES, get_bccd_cfg
from bccd.data.catalog import register_datasets
from bccd.engine.checkpoint import write_atomically
from bccd.engine.setup import available_device, check_config, merge
from bccd.evaluation.machine import describe_machine

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("AP", "AP50", "AP75", *(f"AP-{name}" for name in CLASS_NAMES))
FILE_KEYS = {"config", "budget", "seeds", "rows"}
ROW_KEYS = {"name", "options", "base", "note"}


@dataclass(frozen=True)
class Row:
    """A row: ``options`` are all that differ from config and budget, those of its base included."""

    name: str
    options: dict
    note: str = ""

    @property
    def folder(self):
        """Name of the row's folder."""
        return re.sub(r"\W+", "_", self.name).strip("_")


@dataclass(frozen=True)
class Ablation:
    """An ablation file; ``name`` is that of the file."""

    name: str
    config: str
    budget: dict
    seeds: tuple
    rows: tuple

    def runs(self, names=None):
        """(row, seed) of each training, seeds outermost; ``names`` selects rows.

        Raises:
            ValueError: there is no row of that name.
        """
        known = [row.name for row in self.rows]
        for name in names or ():
            _require(name in known, f"there is no row {name!r}; rows are {', '.join(known)}")
        rows = [row for row in self.rows if not names or row.name in names]
        return [(row, seed) for seed in self.seeds for row in rows]


def read_ablation(file):
    """Read and check an ablation file.

    Args:
        file (Path): yaml.

    Returns:
        Ablation.

    Raises:
        ValueError: names the row and what is wrong with it.
    """
    content = yaml.safe_load(file.read_text())
    _check_keys(content, FILE_KEYS, FILE_KEYS, str(file))
    rows = {}
    for entry in content["rows"]:
        _check_keys(entry, {"name", "options"}, ROW_KEYS, f"{file}: row {entry}")
        row = _read_row(entry, rows, content["budget"], file)
        rows[row.folder] = row
    return Ablation(
        name=file.stem,
        config=content["config"],
        budget=content["budget"],
        seeds=tuple(content["seeds"]),
        rows=tuple(rows.values()),
    )


def _read_row(entry, earlier, budget, file):
    name, base = entry["name"], entry.get("base")
    options = dict(entry["options"])
    if base is not None:
        found = [row.options for row in earlier.values() if row.name == base]
        _require(found, f"{file}: row {name!r} builds on {base!r}, which is no earlier row")
        options = {**found[0], **options}
    fixed = sorted({*budget, "SEED", "OUTPUT_DIR"} & set(options))
    _require(
        not fixed, f"{file}: row {name!r} sets {', '.join(fixed)}, which is the same in all rows"
    )
    row = Row(name, options, entry.get("note", ""))
    _require(row.folder not in earlier, f"{file}: two rows have a name like {name!r}")
    return row


def _check_keys(content, required, known, where):
    _require(isinstance(content, dict), f"{where}: expected keys {', '.join(sorted(known))}")
    missing, unknown = required - content.keys(), content.keys() - known
    _require(not missing, f"{where}: {', '.join(sorted(missing))} is missing")
    _require(not unknown, f"{where}: unknown key {', '.join(sorted(unknown))}")


def _require(condition, message):
    if not condition:
        raise ValueError(message)


def train_options(ablation, row, seed, folder, extra=()):
    """``KEY VALUE`` list of one training; ``extra`` (list of str) comes last."""
    options = {**ablation.budget, **row.options, "SEED": seed, "OUTPUT_DIR": str(folder)}
    return [str(word) for pair in options.items() for word in pair] + list(extra)


def check_rows(ablation, extra=()):
    """Build the config of every row, so that no mistake is found after hours of training.

    Raises:
        ValueError: names the row and the key.
    """
    register_datasets()
    for row in ablation.rows:
        cfg = get_bccd_cfg()
        try:
            merge(cfg, ablation.config, train_options(ablation, row, 1, "unused", extra))
            cfg.MODEL.DEVICE = available_device(cfg.MODEL.DEVICE)
            check_config(cfg)
        except ValueError as error:
            raise ValueError(f"row {row.name!r} of {ablation.name}: {error}") from error


def train(ablation, row, seed, folder, extra=()):
    """Train one row with one seed, unless that is done or another process is at it.

    Args:
        folder (Path): OUTPUT_DIR; made if it is not there.

    Returns:
        bool: False if the training failed.

    Raises:
        ValueError: what lies in ``folder`` was trained with other options.
    """
    label = f"{row.name}, seed {seed}"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / "lock") as lock:
        if lock is None:
            print(f"{label}: another process trains it", flush=True)
            return True
        options = train_options(ablation, row, seed, folder, extra)
        state = _start(folder, ablation.config, options)
        if state["finished"]:
            print(f"{label}: finished before", flush=True)
            return True
        print(f"{label}: training in {folder}", flush=True)
        command = [sys.executable, str(ROOT / "train_net.py"), "--config-file", ablation.config]
        with (folder / "train.out").open("a") as log:
            # The lock outlives this process as long as the training does.
            status = subprocess.run(
                [*command, "--resume", *options],
                stdout=log,
                stderr=log,
                pass_fds=[lock.fileno()],
            ).returncode
        if status:
            print(f"{label}: failed, see {folder / 'train.out'}", file=sys.stderr, flush=True)
        else:
            _write_json(folder / "run.json", {**state, "finished": True})
        return status == 0


@contextlib.contextmanager
def _locked(file):
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield stream


def _start(folder, config, options):
    """Note in ``run.json`` what is trained, by which commit and where; return the note."""
    file = folder / "run.json"
    new = {"config": config, "options": options, "commits": [], "machine": describe_machine()}
    state = json.loads(file.read_text()) if file.exists() else {**new, "finished": False}
    _require(
        (state["config"], state["options"]) == (config, options),
        f"{folder} was trained with other options ({file}): remove it to train the row anew",
    )
    commit = _git_commit()
    if not state["finished"] and commit not in state["commits"]:
        state["commits"].append(commit)
    _write_json(file, state)
    return state


def _git_commit():
    command = ("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def collect(ablation, output):
    """Everything measured by the finished trainings.

    Args:
        output (Path): folder of the ablation, with <row>/<seed>/ below.

    Returns:
        dict: as written to the JSON file; a row without finished trainings has no ``runs``.
    """
    rows = []
    for row in ablation.rows:
        folders = [output / row.folder / str(seed) for seed in ablation.seeds]
        runs = [measured_run(folder) for folder in folders if _is_finished(folder)]
        rows.append({"name": row.name, "note": row.note, "options": row.options, "runs": runs})
    return {"config": ablation.config, "budget": ablation.budget, "rows": rows}


def _is_finished(folder):
    file = folder / "run.json"
    return file.exists() and json.loads(file.read_text())["finished"]


def measured_run(folder):
    """What one training reached on the validation data.

    Args:
        folder (Path): OUTPUT_DIR with metrics.json and run.json.

    Returns:
        dict: ``seed``, ``iterations``, ``seconds`` of the training steps without validation,
        ``last`` and ``best`` validation (by AP) in percent with their ``iteration``, ``commits``,
        ``machine``.

    Raises:
        ValueError: there was no validation.
    """
    # A resumed training repeats what came after its checkpoint: the later record counts.
    records = {}
    for line in (folder / "metrics.json").read_text().splitlines():
        record = json.loads(line)
        records[record["iteration"]] = {**records.get(record["iteration"], {}), **record}
    records = [records[iteration] for iteration in sorted(records)]
    validations = [
        {"iteration": r["iteration"], **{m: r.get(f"bbox/{m}") for m in METRICS}}
        for r in records
        if "bbox/AP" in r
    ]
    _require(validations, f"{folder}/metrics.json has no bbox/AP: set DATASETS.VAL")
    state = json.loads((folder / "run.json").read_text())
    steps = [r for r in records if "total_loss" in r]
    return {
        "seed": int(state["options"][state["options"].index("SEED") + 1]),
        "iterations": steps[-1]["iteration"] + 1,
        "seconds": _seconds(steps),
        "last": validations[-1],
        "best": max(validations, key=lambda v: v["AP"]),
        "commits": state["commits"],
        "machine": state["machine"],
    }


def _seconds(steps):
    """Each record's median time of a step, for all steps since the record before."""
    total, done = 0.0, -1
    for record in steps:
        total += record.get("time", 0.0) * (record["iteration"] - done)
        done = record["iteration"]
    return total


def ablation_table(results):
    """The table as Markdown: means over the seeds, in percent.

    Args:
        results (dict): as :func:`collect` returns.
    """
    baseline = results["rows"][0]
    rows = [_table_row(row, baseline) for row in results["rows"]]
    headers = ["", "AP", "change", "AP50", "AP75", *CLASS_NAMES, "best AP", "seeds", "minutes"]
    budget = ", ".join(f"{key} {value}" for key, value in results["budget"].items())
    return (
        f"Validation AP in percent at the end of training, mean over the seeds [lowest, highest]. "
        f"`{results['config']}`, every row with {budget}.\n\n"
        + tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
        + "\n"
    )


def _table_row(row, baseline):
    name = f"{row['name']} ({row['note']})" if row["note"] else row["name"]
    runs = row["runs"]
    if not runs:
        return [name, "not trained"]
    ap = _values(row, "last", "AP")
    change = ""
    if row is not baseline and baseline["runs"]:
        change = f"{mean(ap) - mean(_values(baseline, 'last', 'AP')):+.1f}"
    spread = f" [{min(ap):.1f}, {max(ap):.1f}]" if len(ap) > 1 else ""
    return [
        name,
        f"{mean(ap):.1f}{spread}",
        change,
        *(_mean_cell(_values(row, "last", metric)) for metric in METRICS[1:]),
        _mean_cell(_values(row, "best", "AP")),
        len(runs),
        f"{mean(run['seconds'] for run in runs) / 60:.0f}",
    ]


def _values(row, which, metric):
    return [run[which][metric] for run in row["runs"]]


def _mean_cell(values):
    return "n/a" if None in values else f"{mean(values):.1f}"


def _write_json(file, content):
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(file, lambda stream: stream.write(text.encode()))


def main(argv=None):
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="e.g. configs/ablations/sparse_rcnn_lite.yaml")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="train these alone")
    parser.add_argument("--collect", action="store_true", help="train nothing")
    parser.add_argument("--output", type=Path, default=Path("output/ablations"))
    parser.add_argument("--results", type=Path, default=Path("results/ablations"))
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE for every row, last"
    )
    args = parser.parse_args(argv)
    failed = False
    try:
        ablation = read_ablation(args.file)
        runs = ablation.runs(args.rows)
        output = args.output / ablation.name
        if not args.collect:
            check_rows(ablation, args.opts)
            done = [
                train(ablation, row, seed, output / row.folder / str(seed), args.opts)
                for row, seed in runs
            ]
            failed = not all(done)
        results = collect(ablation, output)
    except (OSError, ValueError) as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 1
    table = ablation_table(results)
    args.results.mkdir(parents=True, exist_ok=True)
    _write_json(args.results / f"{ablation.name}.json", results)
    (args.results / f"{ablation.name}.md").write_text(table)
    print(table)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
