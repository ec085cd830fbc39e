"""Evaluations of made-up systems as results/ keeps them, on tiny registered sets."""

import gzip
import json

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from bccd.experiments.cross_validation import CrossValidation, write_cross_validation

NAMES = ["RBC", "WBC", "Platelets"]
FOLDS = [f"systems_fold{k}_test" for k in range(1, 6)]
TEST = "systems_test"
_SIDES = (60, 100, 30)


def records(first, count):
    """``count`` images from the id ``first`` on, each with two cells of each class."""
    return [
        {
            "file_name": f"{image_id}.jpg",
            "image_id": image_id,
            **{"height": 480, "width": 640},
            "annotations": [
                {
                    "bbox": [x, y, x + side, y + side],
                    "bbox_mode": BoxMode.XYXY_ABS,
                    "category_id": category,
                    "iscrowd": 0,
                }
                for category, side in enumerate(_SIDES)
                for x, y in ((130 * category, 10), (130 * category + 40 * (image_id % 3), 200))
            ],
        }
        for image_id in range(first, first + count)
    ]


def register():
    """Register TEST, of 6 images, and FOLDS, of 2 images each."""
    sets = {TEST: (1, 6), **{name: (10 * k, 2) for k, name in enumerate(FOLDS, start=1)}}
    for name, place in sets.items():
        if name not in DatasetCatalog:
            DatasetCatalog.register(name, lambda place=place: records(*place))
            MetadataCatalog.get(name).set(thing_classes=NAMES)


def detect(images, offset):
    """Every cell ``offset`` pixels to the side in every second image, and a false platelet."""
    found = []
    for image in images:
        shift = offset * (image["image_id"] % 2)
        for number, annotation in enumerate(image["annotations"]):
            x0, y0, x1, _ = annotation["bbox"]
            found.append(_result(image, annotation["category_id"], x0 + shift, y0, x1 - x0, number))
        found.append(_result(image, 2, 500, 400, 30, 8))
    return found


def _result(image, category, x, y, side, number):
    box, score = [float(v) for v in (x, y, side, side)], 0.9 - 0.1 * number
    return {
        "image_id": image["image_id"],
        "category_id": category + 1,
        "bbox": box,
        "score": score,
    }


def keep_row(results, name, title, offset, dataset=TEST):
    """A row of ``results``."""
    folder = results / name
    folder.mkdir(parents=True)
    points = {"iou": 0.5, "classes": {n: {"threshold": 0.2} for n in NAMES}}
    content = {
        "evaluation.json": {"dataset": dataset},
        "timing.json": {},
        "row.json": {"name": title},
        "operating_points.json": points,
    }
    for file, data in content.items():
        (folder / file).write_text(json.dumps(data))
    (folder / "metrics.json").write_text(
        '{"iteration": 119, "total_loss": 1.0, "time": 0.5}\n{"iteration": 119, "bbox/AP": 60.0}\n'
    )
    packed = gzip.compress(json.dumps(detect(DatasetCatalog.get(dataset), offset)).encode())
    (folder / "coco_instances_results.json.gz").write_bytes(packed)


def keep_folds(results, name, title, offset, folds=FOLDS):
    """A cross-validation of ``results``; the first fold counts from a score of 0.05, others 0.2."""
    described = [
        {"dataset": fold, "thresholds": dict.fromkeys(NAMES, 0.2 if k else 0.05), "seconds": 60.0}
        for k, fold in enumerate(folds)
    ]
    found = [detect(DatasetCatalog.get(fold), offset) for fold in folds]
    file = results / "folds" / f"{name}.json.gz"
    write_cross_validation(CrossValidation(title, NAMES, described, found), file)
