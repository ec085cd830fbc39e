"""The detectors that are put side by side, and what is kept of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from bccd.data.sources.folds import FOLDS
from bccd.evaluation.counts import Counts, count_cells
from bccd.evaluation.stored import load_results
from bccd.experiments.ablation_results import read_validations
from bccd.experiments.checkout import ROOT
from bccd.experiments.comparison import read_row
from bccd.experiments.cross_validation import SUFFIX, CrossValidation, read_cross_validation
from bccd.experiments.rows import Row, read_rows, select_rows

SYSTEMS = ROOT / "configs" / "experiments" / "systems.yaml"
CROSS_VALIDATION = "cross-validation"  # beside the names of test sets


@dataclass(frozen=True)
class System:
    """One of the detectors that are compared.

    Attributes:
        row: of ``configs/experiments/rows.yaml``.
        quoted: name of the row of ``results/references.json`` that it stands beside.
    """

    row: Row
    quoted: str


@dataclass(frozen=True)
class Kept:
    """A system on one set of images, read from the files that are kept.

    Attributes:
        name: in the tables.
        truth: COCO ground truth.
        detections: COCO results.
        counts: at the thresholds that were chosen on validation images.
        minutes: of the training steps, of all folds together; None where it is not known.
        thresholds: {class: score}; None where each fold has its own.
    """

    name: str
    truth: dict
    detections: list[dict]
    counts: Counts
    minutes: float | None
    thresholds: dict[str, float] | None = None


def read_systems(file: Path = SYSTEMS) -> dict[str, System]:
    """The systems by the names of their rows.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it names a row that there is not.
    """
    quoted = yaml.safe_load(file.read_text())
    try:
        rows = select_rows(read_rows(), quoted)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from error
    return {row.name: System(row, quoted[row.name]) for row in rows}


def read_kept(results: Path, names: Iterable[str]) -> dict[str, dict[str, Kept]]:
    """Every evaluation of some rows that is kept.

    Args:
        results: the folder.
        names: of rows; ``<row>_voc`` and ``folds/<row>`` are read, too.

    Returns:
        {name of the test set, or CROSS_VALIDATION: {row: Kept}}, without what is not kept.
    """
    kept = {}
    for name in names:
        for folder in (results / name, results / f"{name}_voc"):
            if (folder / "evaluation.json").is_file():
                dataset, found = _read_row(folder)
                kept.setdefault(dataset, {})[name] = found
        file = results / "folds" / f"{name}{SUFFIX}"
        if file.is_file():
            kept.setdefault(CROSS_VALIDATION, {})[name] = pooled(read_cross_validation(file))
    return kept


def _read_row(folder):
    row = read_row(folder)
    found = load_results(folder, row["dataset"])
    counts = count_cells(found.truth, found.detections, found.thresholds)
    minutes = _minutes(folder)
    return row["dataset"], Kept(
        row["name"], found.truth, found.detections, counts, minutes, found.thresholds
    )


def _minutes(folder):
    if not (folder / "metrics.json").is_file():
        return None
    return read_validations(folder)["seconds"] / 60


def pooled(cross_validation: CrossValidation) -> Kept:
    """All images of a cross-validation as one set.

    Scores of the models of all folds are ranked together; cells are counted at the thresholds of
    each fold's own model.

    Raises:
        ValueError: it has not all folds.
    """
    folds = cross_validation.folds
    if len(folds) != FOLDS:
        raise ValueError(f"{cross_validation.name}: {len(folds)} folds; expected {FOLDS}")
    truths = [cross_validation.truth(k) for k in range(FOLDS)]
    counts = [
        count_cells(truth, found, fold["thresholds"])
        for truth, found, fold in zip(truths, cross_validation.detections, folds, strict=True)
    ]
    seconds = [fold.get("seconds") for fold in folds]
    return Kept(
        name=cross_validation.name,
        truth=_joined_truth(truths),
        detections=[d for found in cross_validation.detections for d in found],
        counts=_joined_counts(counts),
        minutes=None if None in seconds else sum(seconds) / 60,
    )


def _joined_truth(truths):
    """The images of all, whose ids differ, and their annotations with new ids."""
    annotations = [annotation for truth in truths for annotation in truth["annotations"]]
    return {
        **truths[0],
        "images": [image for truth in truths for image in truth["images"]],
        "annotations": [{**a, "id": i} for i, a in enumerate(annotations, start=1)],
    }


def _joined_counts(counts):
    ids = [image_id for each in counts for image_id in each.image_ids]
    order = np.argsort(ids)
    true, predicted = (
        np.concatenate([getattr(each, name) for each in counts])[order]
        for name in ("true", "predicted")
    )
    return Counts([ids[i] for i in order], counts[0].class_names, true, predicted)
