#!/usr/bin/env python3
"""Train the rows of an ablation at one budget and write their table.

    python tools/ablate.py configs/ablations/sparse_rcnn_lite.yaml
    python tools/ablate.py configs/ablations/sparse_rcnn_lite.yaml --rows baseline "without EMA"
    python tools/ablate.py configs/ablations/sparse_rcnn_lite.yaml --collect

``bccd.experiments.ablation.read_ablation`` tells what the file holds. Each row and seed is a
``train_net.py --resume`` of its own in output/ablations/<file>/<row>/<seed>; what it prints is in
``train.out`` there. A finished training is left as it is, a killed one goes on, and one that
another process is at is skipped: start the command twice to use two cores.

What is finished is then collected from these folders, by --collect without training, into
results/ablations/<file>.json and <file>.md. Validation only: no test data are read.
"""

import argparse
import contextlib
import fcntl
import json
import subprocess
import sys
from pathlib import Path

from bccd.data.sources.catalog import register_datasets
from bccd.engine.checkpoint import write_atomically
from bccd.evaluation.machine import describe_machine
from bccd.experiments.ablation import as_arguments, check_rows, read_ablation
from bccd.experiments.ablation_results import ablation_table, read_validations

ROOT = Path(__file__).resolve().parents[1]


def train(ablation, row, seed, folder, extra=()):
    """Train one row with one seed, unless that is done or another process is at it.

    Args:
        folder (Path): OUTPUT_DIR; made if it is not there.
        extra: ``KEY VALUE`` list that comes last.

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
        options = ablation.options(row, seed)
        note = _begin(folder, {"config": ablation.config, "options": options, "extra": extra})
        if note["finished"]:
            print(f"{label}: finished before", flush=True)
            return True
        print(f"{label}: training in {folder}", flush=True)
        arguments = [*as_arguments(options), "OUTPUT_DIR", str(folder), *extra]
        if status := _run_train_net(ablation.config, arguments, folder / "train.out", lock):
            print(f"{label}: failed, see {folder / 'train.out'}", file=sys.stderr, flush=True)
        else:
            _write_json(folder / "ablation.json", {**note, "finished": True})
        return status == 0


def _run_train_net(config, arguments, log, lock):
    command = [sys.executable, str(ROOT / "train_net.py"), "--config-file", config, "--resume"]
    with log.open("a") as stream:
        # The lock is passed on so that it outlives this process as long as the training does.
        return subprocess.run(
            [*command, *arguments], stdout=stream, stderr=stream, pass_fds=[lock.fileno()]
        ).returncode


@contextlib.contextmanager
def _locked(file):
    """The open file, locked; None if another process has locked it."""
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream = None
        yield stream


def _begin(folder, trained):
    """Note in ablation.json what is trained, with which commit and where; return the note."""
    file = folder / "ablation.json"
    if file.exists():
        note = _read_note(file, trained)
    else:
        note = {**trained, "commits": [], "machine": describe_machine(), "finished": False}
    commit = _git_commit()
    if not note["finished"] and commit not in note["commits"]:
        note["commits"].append(commit)
        _write_json(file, note)
    return note


def _read_note(file, trained):
    note = json.loads(file.read_text())
    for key, value in trained.items():
        if note[key] != value:
            raise ValueError(
                f"{file.parent} was trained with {key} {note[key]}, not {value}: remove the folder "
                "to train this row anew"
            )
    return note


def _git_commit():
    command = ("git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def collect(ablation, output):
    """Everything that the finished trainings measured.

    Args:
        ablation: Ablation.
        output (Path): folder of the ablation, with <row>/<seed>/ below.

    Returns:
        dict: see ``ablation_table``; a row without finished trainings has no ``runs``.

    Raises:
        ValueError: a training had other options than the file now has.
    """
    rows = []
    for row in ablation.rows:
        runs = []
        for seed in ablation.seeds:
            folder = output / row.folder / str(seed)
            if (folder / "ablation.json").exists():
                trained = {"config": ablation.config, "options": ablation.options(row, seed)}
                note = _read_note(folder / "ablation.json", trained)
                if note["finished"]:
                    kept = {key: note[key] for key in ("extra", "commits", "machine")}
                    runs.append({"seed": seed, **read_validations(folder), **kept})
        rows.append({"name": row.name, "note": row.note, "options": row.options, "runs": runs})
    return {"config": ablation.config, "budget": ablation.budget, "rows": rows}


def _write_json(file, content):
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(file, lambda stream: stream.write(text.encode()))


def _parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="e.g. configs/ablations/sparse_rcnn_lite.yaml")
    parser.add_argument("--rows", nargs="+", default=[], metavar="NAME", help="train these only")
    parser.add_argument("--collect", action="store_true", help="train nothing")
    parser.add_argument("--output", type=Path, default=Path("output/ablations"))
    parser.add_argument("--results", type=Path, default=Path("results/ablations"))
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE ... of every training"
    )
    return parser.parse_args(argv)


def main(argv=None):
    """Command line; returns the exit status."""
    args = _parse(argv)
    register_datasets()
    try:
        ablation = read_ablation(args.file)
        rows = ablation.select(args.rows)
        output = args.output / ablation.name
        succeeded = []
        if not args.collect:
            check_rows(ablation, args.opts)
            succeeded = [
                train(ablation, row, seed, output / row.folder / str(seed), args.opts)
                for seed in ablation.seeds
                for row in rows
            ]
        results = collect(ablation, output)
    except (OSError, ValueError) as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 1
    table = ablation_table(results)
    args.results.mkdir(parents=True, exist_ok=True)
    _write_json(args.results / f"{ablation.name}.json", results)
    (args.results / f"{ablation.name}.md").write_text(table)
    print(table)
    return 0 if all(succeeded) else 1


if __name__ == "__main__":
    sys.exit(main())
