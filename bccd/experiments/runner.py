"""Runs the commands of rows of results, one after the other or side by side within some minutes."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence

from bccd.experiments.commands import (
    Command,
    Places,
    schedule_command,
    short_evaluation_commands,
    training_command,
)
from bccd.experiments.rows import Row
from bccd.processes import available_cores

# Of the time of a short training: what iterations get, imports and validation take the rest.
ITERATIONS_SHARE = 0.65
# What evaluations get of the minutes: a quarter, and two minutes are enough.
EVALUATION_SHARE, EVALUATION_SECONDS = 0.25, 120
_SHARES = {1: "", 2: "half of ", 3: "a third of "}


def run_commands(commands: Iterable[Command]) -> None:
    """Print and run commands until one fails.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    for command in commands:
        print(f"$ {shlex.join(['python', *command])}", flush=True)
        subprocess.run([sys.executable, *command], check=True)


def run_within(rows: Sequence[Row], places: Places, minutes: float) -> list[str]:
    """Train rows side by side for as many iterations as fit into the minutes, and evaluate them.

    The rows share the machine, so the iterations are measured side by side, too. A training that
    the time ends is evaluated with its best checkpoint so far. The output of the trainings is in
    ``<output>/<row>/train.out``.

    Returns:
        What went wrong, a sentence for each row that could not be trained or evaluated.

    Raises:
        ValueError: there are checkpoints of another training in ``<output>/<row>``.
    """
    _check_empty(rows, places)
    seconds = minutes * 60 - min(EVALUATION_SECONDS, EVALUATION_SHARE * minutes * 60)
    end = time.monotonic() + seconds
    rows = [row.short() for row in rows]
    workers = {"DATALOADER.NUM_WORKERS": available_cores() // len(rows)}
    problems = []
    fitted = _fit(rows, places, int(seconds * ITERATIONS_SHARE), workers)
    trainings = []
    for row, iterations in zip(rows, fitted, strict=True):
        log = _log(places, row)
        if iterations is None:
            problems.append(f"{row.name} cannot be trained; see {log}")
            continue
        schedule = {**workers, **short_schedule(iterations)}
        trainings.append((row, _start(training_command(row, places, schedule=schedule), log)))
    for row, training in trainings:
        if _wait(training, end) != 0:
            problems.append(
                f"the training of {row.name} ended early, and its best checkpoint so far is "
                f"evaluated; see {_log(places, row)}"
            )
    length = f"{int(seconds // 60)} minutes of {_SHARES.get(len(rows), f'1/{len(rows)} of ')}"
    for row, _ in trainings:
        if not (places.output / row.name / "model_best.pth").is_file():
            problems.append(f"{row.name} was not validated in this time, so it is not evaluated")
            continue
        note = f"{length}a {row.device.upper()}"
        try:
            run_commands(short_evaluation_commands(row, places, note))
        except subprocess.CalledProcessError as error:
            problems.append(f"{row.name} cannot be evaluated (status {error.returncode})")
    return problems


def short_schedule(iterations: int) -> dict[str, int]:
    """{key: value} of a training of so many iterations: warm-up, validations, no checkpoints."""
    return {
        "SOLVER.MAX_ITER": iterations,
        "SOLVER.WARMUP_ITERS": iterations // 12,
        "TEST.EVAL_PERIOD": iterations // 6 + 1,
        "SOLVER.CHECKPOINT_PERIOD": 1_000_000,
    }


def _fit(rows, places, seconds, schedule):
    """Iterations of each row that fit into the seconds; None where the training fails.

    SOLVER.MAX_ITER among the options of all commands is taken as it is.
    """
    given = dict(zip(places.opts[::2], places.opts[1::2], strict=False)).get("SOLVER.MAX_ITER")
    for row in rows:
        _log(places, row).parent.mkdir(parents=True, exist_ok=True)
        _log(places, row).write_text("")
    if given is not None:
        return [int(given)] * len(rows)
    started = []
    for row in rows:
        command = schedule_command(row, places, seconds, schedule)
        started.append(_start(command, _log(places, row), stdout=subprocess.PIPE))
    outputs = [process.communicate()[0] for process in started]
    return [
        int(output.split()[-1]) if process.returncode == 0 and output.split() else None
        for process, output in zip(started, outputs, strict=True)
    ]


def _start(command, log, stdout=None):
    print(f"$ {shlex.join(['python', *command])}", flush=True)
    with log.open("a") as stream:
        return subprocess.Popen(
            [sys.executable, *command], stdout=stdout or stream, stderr=stream, text=True
        )


def _wait(process, end):
    """The exit status of a process, which is terminated at the time ``end``."""
    try:
        return process.wait(max(0, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.terminate()
        return process.wait()


def _check_empty(rows, places):
    for row in rows:
        folder = places.output / row.name
        if any(folder.glob("model_*.pth")):
            raise ValueError(
                f"{folder} holds the checkpoints of another training, and a training of some "
                "minutes starts anew: remove the folder or choose another with --output"
            )


def _log(places, row):
    return places.output / row.name / "train.out"
