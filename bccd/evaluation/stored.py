"""Reading the files of an evaluation."""

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bccd.data.classes import Color
from bccd.data.formats.coco import to_coco
from bccd.data.records import load_records
from bccd.evaluation.coco import class_names
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
        class_colors: RGB, 0-255, of each class that ``truth`` names; None: the usual ones.
    """

    records: list
    truth: dict
    detections: list
    thresholds: dict
    iou: float
    class_colors: Sequence[Color] | None = None

    @property
    def class_names(self) -> list[str]:
        """Names of the classes, in the order of their ids."""
        return class_names(self.truth)


def load_results(folder: Path, dataset: str) -> Results:
    """Read what an evaluation wrote into ``OUTPUT_DIR/inference``.

    The classes, their order and their colours are those of the model that was evaluated.

    Args:
        folder: with ``coco_instances_results.json``, or the same compressed as ``.json.gz``, and
            ``operating_points.json``.
        dataset: registered name of the data set that was evaluated.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: no such data set, a file is not readable, the detections belong to other images,
            or the data set has other classes.
    """
    detections = _read_json(folder, "coco_instances_results.json")
    points = _read_json(folder, "operating_points.json")
    names = list(points["classes"])
    _check(folder, detections, names)
    records = load_records(dataset, names, need_boxes=True)
    unknown = {d["image_id"] for d in detections} - {r["image_id"] for r in records}
    if unknown:
        raise ValueError(
            f"{folder} has detections in image {min(unknown)}, which is not in the data set: "
            "name the one that was evaluated"
        )
    truth, limits = to_coco(records, names), thresholds(points["classes"])
    return Results(records, truth, detections, limits, points["iou"], points.get("class_colors"))


def _check(folder, detections, class_names):
    """Raise ValueError for a detection of another class, or without its five numbers."""
    for detection in detections:
        if detection["category_id"] not in range(1, len(class_names) + 1):
            raise ValueError(
                f"{folder} has a detection of category_id {detection['category_id']}; expected 1 "
                f"to {len(class_names)} for {', '.join(class_names)}"
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
