"""The trainings of an ablation, each of which goes on where a kill ended it."""

import contextlib
import fcntl
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bccd.evaluation.machine import describe_machine
from bccd.experiments.ablation import Ablation, AblationRow
from bccd.experiments.ablation_results import read_validations
from bccd.experiments.checkout import ROOT
from bccd.experiments.json_files import write_json
from bccd.experiments.options import as_arguments


def train_all(
    ablation: Ablation, rows: Sequence[AblationRow], output: Path, extra: Sequence[str] = ()
) -> bool:
    """Train rows with every seed of the ablation, one training after the other.

    Args:
        output: folder of the ablation; a training goes to ``<row>/<seed>`` below it.
        extra: ``KEY VALUE`` list that every training gets last.

    Returns:
        False if a training failed.

    Raises:
        ValueError: see :func:`train`.
    """
    succeeded = [
        train(ablation, row, seed, output / row.folder / str(seed), extra)
        for seed in ablation.seeds
        for row in rows
    ]
    return all(succeeded)


def train(
    ablation: Ablation, row: AblationRow, seed: int, folder: Path, extra: Sequence[str] = ()
) -> bool:
    """Train one row with one seed, unless that is finished or another process does it.

    Args:
        folder: OUTPUT_DIR; made if it is not there.
        extra: ``KEY VALUE`` list that comes last.

    Returns:
        False if the training failed.

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
        note = _begin(folder, {"config": ablation.config, "options": options, "extra": [*extra]})
        if note["finished"]:
            print(f"{label}: finished before", flush=True)
            return True
        print(f"{label}: training in {folder}", flush=True)
        arguments = [*as_arguments(options), "OUTPUT_DIR", str(folder), *extra]
        if status := _run_train_net(ablation.config, arguments, folder / "train.out", lock):
            print(f"{label}: failed, see {folder / 'train.out'}", file=sys.stderr, flush=True)
        else:
            write_json(folder / "ablation.json", {**note, "finished": True})
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
        write_json(file, note)
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


def collect(ablation: Ablation, output: Path) -> dict:
    """Everything that the finished trainings measured.

    Args:
        output: folder of the ablation, with ``<row>/<seed>/`` below.

    Returns:
        See ``ablation_table``; a row without finished trainings has no ``runs``. Trainings that
        were ended before, and validated until then, are its ``unfinished``.

    Raises:
        ValueError: a training had other options than the file now has.
    """
    rows = []
    for row in ablation.rows:
        runs, unfinished = [], []
        for seed in ablation.seeds:
            folder = output / row.folder / str(seed)
            if (folder / "ablation.json").exists():
                trained = {"config": ablation.config, "options": ablation.options(row, seed)}
                note = _read_note(folder / "ablation.json", trained)
                if run := _read_run(folder, note):
                    (runs if note["finished"] else unfinished).append({"seed": seed, **run})
        entry = {"name": row.name, "note": row.note, "options": row.options, "runs": runs}
        rows.append({**entry, "unfinished": unfinished} if unfinished else entry)
    return {"config": ablation.config, "budget": ablation.budget, "rows": rows}


def _read_run(folder, note):
    """What a training measured; None where it was ended before its first validation."""
    try:
        validations = read_validations(folder)
    except (FileNotFoundError, ValueError):
        if note["finished"]:
            raise
        return None
    return {**validations, **{key: note[key] for key in ("extra", "commits", "machine")}}
