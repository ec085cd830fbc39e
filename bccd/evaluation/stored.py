"""The files of an evaluation, read again."""

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path

from bccd.data.classes import CLASS_NAMES
from bccd.data.formats.coco import to_coco
from bccd.evaluation.operating_point import thresholds


@dataclass(frozen=True)
class Results:
    """Ground truth and detections of one data set.

    Attributes:
        records: Detectron2 records.
        truth: the same as COCO ground truth.
        detections: list of COCO results, of any score.
        thresholds: {class name: score from which a detection counts}.
        iou: from which a detection is correct.
    """

    records: list
    truth: dict
    detections: list
    thresholds: dict
    iou: float


def load_results(folder: Path, records: list[dict]) -> Results:
    """Read what an evaluation wrote into ``OUTPUT_DIR/inference``.

    Args:
        folder: with ``coco_instances_results.json``, or the same compressed as ``.json.gz``, and
            ``operating_points.json``.
        records: Detectron2 records of the data set that was evaluated.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not readable, or the detections belong to other images or classes.
    """
    detections = _read_json(folder, "coco_instances_results.json")
    points = _read_json(folder, "operating_points.json")
    if set(points["classes"]) != set(CLASS_NAMES):
        raise ValueError(
            f"{folder} has operating points for {', '.join(points['classes'])}; expected "
            f"{', '.join(CLASS_NAMES)}: evaluate again"
        )
    _check(folder, detections)
    unknown = {d["image_id"] for d in detections} - {r["image_id"] for r in records}
    if unknown:
        raise ValueError(
            f"{folder} has detections in image {min(unknown)}, which is not in the data set: "
            "name the one that was evaluated"
        )
    limits = thresholds(points["classes"])
    return Results(records, to_coco(records), detections, limits, points["iou"])


def _check(folder, detections):
    """Raise ValueError for a detection of another class, or without its five numbers."""
    for detection in detections:
        if detection["category_id"] not in range(1, len(CLASS_NAMES) + 1):
            raise ValueError(
                f"{folder} has a detection of category_id {detection['category_id']}; expected 1 "
                f"to {len(CLASS_NAMES)} for {', '.join(CLASS_NAMES)}"
            )
        values = [detection.get("score"), *(detection.get("bbox") or ())]
        if len(values) != 5 or not all(isinstance(v, int | float) for v in values):
            raise ValueError(
                f"{folder} has a detection in image {detection['image_id']} without a score or a "
                f"box of four numbers: {detection}"
            )


def _read_json(folder, name):
    path, compressed = Path(folder, name), Path(folder, f"{name}.gz")
    try:
        if path.is_file():
            return json.loads(path.read_bytes())
        if compressed.is_file():
            return json.loads(gzip.decompress(compressed.read_bytes()))
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{folder}: {name} is damaged ({error}); evaluate again") from error
    raise FileNotFoundError(f"{path} is missing; train_net.py --eval-only writes it")
