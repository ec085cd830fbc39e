"""The commands that a row of results expands to.

A command is the list of arguments of ``python``; its paths are relative to the folder of the
caller, so that a printed command can be started again from there.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bccd.data.sources.folds import FOLDS
from bccd.experiments.checkout import ROOT
from bccd.experiments.options import as_arguments
from bccd.experiments.rows import Row

Command = list[str]


@dataclass(frozen=True)
class Places:
    """Where a row goes to.

    Attributes:
        output: folder of the trainings and evaluations, a folder below for each.
        results: folder of what is kept, a folder below for each row.
        opts: ``KEY VALUE`` list that follows all others in every command.
    """

    output: Path = Path("output")
    results: Path = Path("results")
    opts: Sequence[str] = ()


def row_commands(row: Row, places: Places, trained: bool = False) -> list[Command]:
    """Everything that a row needs, in order: training, evaluation, what is kept, what is beside it.

    A training that was killed goes on when its command is run again. With ``trained``, the row is
    not trained: ``<output>/<row>/model_best.pth`` is there.
    """
    commands = [] if trained else [training_command(row, places, ("--resume",))]
    if row.pooled:
        return [*commands, *_fold_commands(row, places, row.note)]
    commands += [
        evaluation_command(row, places, row.name),
        keeping_command(row, places, row.name, row.name, row.note),
        _analyse_errors(row, places),
    ]
    if row.tta:
        name = f"{row.name}_tta"
        commands += [
            evaluation_command(row, places, name, options={"TEST.AUG.ENABLED": True}),
            keeping_command(row, places, name, name, _join(row.note, "4 views")),
        ]
    if row.second_annotation:
        commands += _second_annotation(row, places, places.output / row.name)
    return commands


def short_evaluation_commands(row: Row, places: Places, note: str) -> list[Command]:
    """What follows the training of a row for a given time; ``note`` tells the time."""
    note = _join(row.note, note)
    if row.pooled:
        return _fold_commands(row, places, note)
    return [
        evaluation_command(row, places, row.name),
        keeping_command(row, places, row.name, row.name, note),
    ]


def training_command(
    row: Row,
    places: Places,
    flags: Sequence[str] = (),
    schedule: Mapping[str, object] | None = None,
) -> Command:
    """The training of a row into ``<output>/<row>``; ``schedule`` is added to that of the row."""
    return [
        _in_checkout("train_net.py"),
        *("--config-file", _in_checkout(row.config)),
        *flags,
        *_datasets(row, "train", "val", "test"),
        *as_arguments({**row.options, **row.schedule, **(schedule or {})}),
        *("OUTPUT_DIR", str(places.output / row.name)),
        *places.opts,
    ]


def schedule_command(
    row: Row, places: Places, seconds: int, schedule: Mapping[str, object] | None = None
) -> Command:
    """Prints how many iterations of a training with ``schedule`` fit into ``seconds``."""
    return [
        _in_checkout("tools/fit_schedule.py"),
        *("--config-file", _in_checkout(row.config)),
        *("--seconds", str(seconds)),
        *_datasets(row, "train", "val", "test"),
        *as_arguments({**row.options, **row.schedule, **(schedule or {})}),
        *places.opts,
    ]


def evaluation_command(
    row: Row,
    places: Places,
    name: str,
    *,
    datasets: Sequence[str] = (),
    weights: str = "model_best.pth",
    options: Mapping[str, object] | None = None,
) -> Command:
    """The evaluation of a checkpoint of a row, into ``<output>/<name>``.

    Args:
        datasets: ``KEY VALUE`` list of the data; default: the split of the row.
        weights: name of the checkpoint in ``<output>/<row>``.
        options: added to those of the row.
    """
    return [
        _in_checkout("train_net.py"),
        *("--config-file", _in_checkout(row.config)),
        "--eval-only",
        *(datasets or _datasets(row, "train", "val", "test")),
        *as_arguments(row.options),
        *("OUTPUT_DIR", str(places.output / name)),
        *("MODEL.WEIGHTS", str(places.output / row.name / weights)),
        *as_arguments(options or {}),
        *places.opts,
    ]


def keeping_command(row: Row, places: Places, evaluated: str, name: str, note: str) -> Command:
    """Keeps the evaluation in ``<output>/<evaluated>`` as the row ``name``."""
    return [
        _in_checkout("tools/keep_results.py"),
        *("--from", str(places.output / evaluated)),
        *("--row", name),
        *("--name", row.title),
        *("--note", note),
        *("--results", str(places.results)),
    ]


def _fold_commands(row, places, note):
    """Evaluates a fold, and keeps all folds as one file if this is the last one of them."""
    stem = row.name.rstrip("0123456789")
    pool = [
        _in_checkout("tools/pool_folds.py"),
        *("--from", *(str(places.output / f"{stem}{k}") for k in range(1, FOLDS + 1))),
        *("--row", row.pooled),
        *("--name", row.title),
        *("--note", note),
        *("--results", str(places.results)),
    ]
    # The intervals are those of all folds together.
    options = {"TEST.BOOTSTRAP.ENABLED": False}
    return [evaluation_command(row, places, row.name, options=options), pool]


def _analyse_errors(row, places):
    kept = str(places.results / row.name)
    return [
        _in_checkout("tools/analyse_errors.py"),
        *("--results", kept),
        *("--dataset", f"{row.split}_test"),
        *("--output", kept),
    ]


def _second_annotation(row, places, trained):
    """True counts: thresholds chosen on the second annotation, and those of the training."""
    counting = "model_counting.pth"
    choose = [
        _in_checkout("tools/choose_operating_points.py"),
        *("--config-file", _in_checkout(row.config)),
        *("--dataset", f"{row.second_annotation}_val"),
        *("--output", str(trained / counting)),
        *as_arguments(row.options),
        *("MODEL.WEIGHTS", str(trained / "model_best.pth")),
        *places.opts,
    ]
    data = ["DATASETS.TEST", f"('{row.second_annotation}_test',)"]
    chosen, given = f"{row.name}_relabelled", f"{row.name}_relabelled_bccd"
    kept = f"second_annotation/{row.name}"
    note = _join(row.note, "thresholds chosen on BCCD's labels")
    return [
        choose,
        evaluation_command(row, places, chosen, datasets=data, weights=counting),
        keeping_command(row, places, chosen, kept, row.note),
        evaluation_command(row, places, given, datasets=data),
        keeping_command(row, places, given, f"{kept}_bccd_thresholds", note),
    ]


def _datasets(row, *parts):
    return [
        word for part in parts for word in (f"DATASETS.{part.upper()}", f"('{row.split}_{part}',)")
    ]


def _in_checkout(path):
    return os.path.relpath(ROOT / path)


def _join(*notes):
    return "; ".join(note for note in notes if note)
