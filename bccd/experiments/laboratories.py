"""Leave one laboratory out: how a detector does on fields of a laboratory that it never saw.

For each laboratory there is a model that was trained on the others, beside one that was trained on
it alone and one that was trained on all; each is measured on the test images of every laboratory.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from bccd.counting.counter import CellCounter
from bccd.counting.fit_intervals import MarkedField, fit_intervals
from bccd.counting.intervals import CountIntervals
from bccd.counting.load import ModelChoice, load_predictor
from bccd.data.records import incomplete_classes
from bccd.experiments.commands import Command
from bccd.experiments.counting_thresholds import choose_on
from bccd.experiments.intervals import cover, mark_fields
from bccd.experiments.options import as_arguments


@dataclass(frozen=True)
class Laboratory:
    """Data sets of a laboratory, all completely marked.

    Attributes:
        train, val, test: registered names.
    """

    train: str
    val: str
    test: str


LABORATORIES = {
    "BCCD": Laboratory(
        "completed_bccd_paper_train", "bccd_relabelled_paper_val", "bccd_relabelled_paper_test"
    ),
    "PBC": Laboratory("txl_pbc_pbc_train", "txl_pbc_pbc_val", "txl_pbc_pbc_test"),
    "Raabin": Laboratory(
        "completed_txl_pbc_raabin_train", "txl_pbc_raabin_val", "txl_pbc_raabin_test"
    ),
}
# Score from which a class counts that no laboratory of the training marks completely.
UNCHOSEN = 0.5
SHIPPED = (
    "shipped"  # beside the trainings: the model for any laboratory that comes with the project
)
CONFIG = "configs/counting/{model}_any_laboratory.yaml"


def trainings() -> dict[str, tuple[str, ...]]:
    """{name of a training: laboratories that it sees}: all, all but one, one alone."""
    names = tuple(LABORATORIES)
    without = {f"without_{name}": tuple(n for n in names if n != name) for name in names}
    return {"all": names, **without, **{f"only_{name}": (name,) for name in names}}


def train_command(model: str, training: str, output: Path, iterations: int | None) -> Command:
    """The training of a model into ``output``, which goes on if it was interrupted.

    Args:
        model: of ``configs/counting/<model>_any_laboratory.yaml``.
        training: a key of :func:`trainings`.
        output: OUTPUT_DIR.
        iterations: SOLVER.MAX_ITER, for all trainings alike; None: that of the config.
    """
    sets = [LABORATORIES[name] for name in trainings()[training]]
    options: dict[str, object] = {
        "DATASETS.TRAIN": tuple(s.train for s in sets),
        "DATASETS.VAL": tuple(s.val for s in sets),
        "OUTPUT_DIR": output,
        "MODEL.WEIGHTS": "",  # of the config's have seen BCCD
    }
    if iterations is not None:
        options |= {"SOLVER.MAX_ITER": iterations, "TEST.EVAL_PERIOD": max(1, iterations // 4)}
    config = ("--config-file", CONFIG.format(model=model))
    return ["train_net.py", *config, "--resume", *as_arguments(options)]


def weights_of(model: str, training: str, trained: Path) -> str:
    """What is measured: the best checkpoint in ``trained``, or the name of the shipped model."""
    if training == SHIPPED:
        return f"bccd://{model}_generalist"
    return str(trained / "model_best.pth")


def evaluate_command(model: str, weights: str, output: Path) -> Command:
    """The evaluation of a checkpoint on the test images of every laboratory."""
    options = {
        "DATASETS.TEST": tuple(laboratory.test for laboratory in LABORATORIES.values()),
        "MODEL.WEIGHTS": weights,
        "OUTPUT_DIR": output,
    }
    config = ("--config-file", CONFIG.format(model=model))
    return ["train_net.py", *config, "--eval-only", *as_arguments(options)]


def count_tests(weights: str, training: str) -> dict:
    """Counts of the test images of every laboratory, as ``bccd count`` makes them.

    Thresholds and intervals are chosen on the validation images of the laboratories that the model
    saw; the shipped one has its own.

    Returns:
        dict by laboratory of ``marked`` and ``counted``, {class name: number in all images},
        ``error``, {class name: mean absolute error per image}, and ``coverage``, {class name: share
        of the images whose 95% interval holds the number of the marks}, without a class that cannot
        be told of.
    """
    predictor = load_predictor(ModelChoice(model=weights))
    if training == SHIPPED:
        counter = CellCounter.of(predictor)
        intervals = counter.intervals
    else:
        seen = [LABORATORIES[name].val for name in trainings()[training]]
        counter = CellCounter.of(predictor, choose_on(predictor, seen, UNCHOSEN))
        intervals = _intervals(counter, seen)
    return {
        name: _count(counter, intervals, mark_fields(counter, laboratory.test))
        for name, laboratory in LABORATORIES.items()
    }


def _intervals(counter: CellCounter, seen: Sequence[str]) -> CountIntervals | None:
    """Of a class that no laboratory marks completely, nothing is known, nor of all then."""
    if set.intersection(*(set(incomplete_classes(name)) for name in seen)):
        return None
    fields = {name: mark_fields(counter, name) for name in seen}
    return fit_intervals(counter.class_names, list(counter.thresholds.values()), fields)


def _count(
    counter: CellCounter, intervals: CountIntervals | None, fields: Sequence[MarkedField]
) -> dict:
    """What :func:`count_tests` gives for a laboratory."""
    names = counter.class_names
    cells = [field.found[counter.is_counted(field.found)].classes for field in fields]
    counted = np.array([np.bincount(each, minlength=len(names)) for each in cells])
    marked = np.array([field.marked(len(names)) for field in fields])
    columns = {
        "marked": marked.sum(axis=0),
        "counted": counted.sum(axis=0),
        "error": np.abs(counted - marked).mean(axis=0).round(3),
    }
    counts = {key: dict(zip(names, v.tolist(), strict=True)) for key, v in columns.items()}
    covered = cover(intervals, fields) if intervals else []
    counts["coverage"] = {
        names[k]: of_class["coverage"]
        for k, of_class in enumerate(covered)
        if k not in fields[0].incomplete
    }
    return counts


def is_trained(trained: Path) -> bool:
    """Whether a training lies in a folder: its ``config.yaml`` and its best checkpoint."""
    return all((trained / name).is_file() for name in ("config.yaml", "model_best.pth"))


def read_iterations(trained: Path) -> int:
    """Number of iterations of the training in a folder, by its ``config.yaml``."""
    return yaml.safe_load((trained / "config.yaml").read_text())["SOLVER"]["MAX_ITER"]


def read_evaluation(output: Path) -> dict:
    """{laboratory: AP and AP50 of all and of each class, with their 95% intervals}, in percent."""
    evaluated = {}
    for name, laboratory in LABORATORIES.items():
        path = output / "inference" / laboratory.test / "evaluation.json"
        document = json.loads(path.read_text())
        metrics = {k: v for k, v in document["bbox"].items() if k.split("-")[0] in _METRICS}
        evaluated[name] = {
            "images": document["images"],
            "bbox": metrics,
            "intervals": document["intervals"]["bbox"],
        }
    return evaluated


_METRICS = ("AP", "AP50", "AP75")
_TRAININGS = {
    "only_{}": "it alone",
    "without_{}": "the others",
    "all": "all three",
    SHIPPED: "all three, as it ships",
}


def laboratories_table(runs: Sequence[Mapping], class_names: Sequence[str]) -> str:
    """Markdown: for each model and laboratory, what trainings without it, on it and on all reach.

    Args:
        runs: dicts with ``model``, ``training`` and ``laboratories``: what :func:`read_evaluation`
            and :func:`count_tests` give for each.
        class_names: columns.
    """
    by_name = {(run["model"], run["training"]): run["laboratories"] for run in runs}
    ap = [f"{name}: AP" for name in class_names]
    counts = [f"{name}: counted of marked, intervals that hold" for name in class_names]
    head = ["model", "fields of", "trained on", "AP", "AP50", "AP75", *ap, *counts]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for model in dict.fromkeys(model for model, _ in by_name):
        for laboratory in LABORATORIES:
            for pattern, words in _TRAININGS.items():
                found = by_name.get((model, pattern.format(laboratory)))
                if found is not None:
                    cells = _cells(found[laboratory], class_names)
                    lines.append(f"| {' | '.join([f'`{model}`', laboratory, words, *cells])} |")
    return "\n".join(lines)


def _cells(found, class_names):
    metrics, intervals = found["bbox"], found["intervals"]
    cells = []
    for key in (*_METRICS, *(f"AP-{name}" for name in class_names)):
        cells.append(_with_interval(metrics[key], intervals.get(key)))
    for name in class_names:
        counted, marked = (found["counts"][key][name] for key in ("counted", "marked"))
        covered = found["counts"]["coverage"].get(name)
        cells.append(f"{counted} of {marked}" + ("" if covered is None else f", {covered:.0%}"))
    return cells


def _with_interval(percent, interval):
    if percent is None:
        return "-"
    if interval is None or None in interval:
        return f"{percent / 100:.3f}"
    low, high = interval
    return f"{percent / 100:.3f} [{low / 100:.3f}, {high / 100:.3f}]"
