"""A short fine-tuning on corrected fields, at the magnification that the detector knows."""

import contextlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.structures import BoxMode

from bccd.atomic_files import write_atomically
from bccd.config import get_bccd_cfg
from bccd.counting.looking import GROUND
from bccd.counting.predictor import Predictor
from bccd.data.formats.coco import to_coco
from bccd.data.images.resizing import resize
from bccd.detections import Detections
from bccd.evaluation.coco import evaluate_boxes
from bccd.experiments.calibration.corrected import CorrectedField
from bccd.experiments.calibration.detected import detect_fields
from bccd.experiments.calibration.diameter import field_diameter
from bccd.experiments.own_data.training import train
from bccd.export.magnification import Magnification

FOLDS = 3
LEAST_GROUPS = 6  # of fields, below which a third of them says nothing
ITERATIONS = 120
# Of the rate that the training of the model started with.
_LEARNING_RATE_SHARE = 0.1
_LEAST_INSIDE = 0.4  # share of a cell's box inside a tile from which it is marked there


def folds_of(groups: np.ndarray, seed: int) -> np.ndarray:
    """The fold (F,) in which each field is held back; fields of one group are in one fold."""
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    fold_of = {group: place % FOLDS for place, group in enumerate(order.tolist())}
    return np.array([fold_of[group] for group in groups.tolist()])


def fine_tune(
    base: CfgNode,
    magnification: Magnification,
    fields: Sequence[CorrectedField],
    folder: Path,
    *,
    iterations: int,
    seed: int,
) -> CfgNode:
    """Train the detector of ``base`` on ``fields``; goes on from its last checkpoint.

    Args:
        base: config of the detector; its weights are where the training starts.
        magnification: of the detector.
        fields: to train on.
        folder: for the images, the config and the checkpoints.
        iterations, seed: of the training.

    Returns:
        the config of the fine-tuned detector.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "fields.json"
    if not file.is_file():
        _write_tiles(fields, magnification, base, file)
    cfg = base.clone()
    cfg.defrost()
    # What concerns the machine and the data of the training before.
    usual = get_bccd_cfg().DATALOADER.NUM_WORKERS
    cfg.DATALOADER.NUM_WORKERS = min(cfg.DATALOADER.NUM_WORKERS, usual)
    cfg.DATASETS.TRAIN = (f"coco:{file.resolve()}:{_tiles(file).resolve()}",)
    cfg.DATASETS.VAL = cfg.DATASETS.TEST = cfg.DATASETS.IMPORT = ()
    cfg.TEST.EXPECTED_RESULTS, cfg.TEST.EXPECTED_RESULTS_DATASET = [], ""
    cfg.OUTPUT_DIR, cfg.SEED = str(folder / "training"), seed
    # A person has looked at these fields: what is not marked is no cell.
    cfg.INPUT.UNLABELLED_IF_ABSENT, cfg.MODEL.MISSING_LABELS.ENABLED = (), False
    solver = cfg.SOLVER
    solver.BASE_LR *= _LEARNING_RATE_SHARE
    solver.MAX_ITER, solver.WARMUP_ITERS = iterations, iterations // 10
    solver.CHECKPOINT_PERIOD = max(iterations // 4, 1)
    solver.EMA.DECAY = min(solver.EMA.DECAY, max(1 - 5 / iterations, 0.0))
    if "://" not in cfg.MODEL.WEIGHTS:
        cfg.MODEL.WEIGHTS = str(Path(cfg.MODEL.WEIGHTS).resolve())
    config_file, text = folder / "training.yaml", cfg.dump().encode()
    write_atomically(config_file, lambda out: out.write(text))
    with _log_handlers():
        train(config_file, Path(cfg.OUTPUT_DIR))
    tuned = base.clone()
    tuned.defrost()
    tuned.MODEL.WEIGHTS = str(Path(cfg.OUTPUT_DIR, "model_final.pth"))
    return tuned


def detect_held_back(
    base: CfgNode,
    magnification: Magnification,
    thresholds: np.ndarray,
    fields: Sequence[CorrectedField],
    folder: Path,
    **training: int,
) -> list[Detections]:
    """What fine-tuned detectors find in each field that they have not seen.

    Args:
        base, magnification, fields, folder: as of :func:`fine_tune`.
        thresholds: as of :func:`.detect_fields`.
        training: further arguments of :func:`fine_tune`.
    """
    folds = folds_of(np.array([field.group for field in fields]), training["seed"])
    found = [None] * len(fields)
    for fold in range(FOLDS):
        seen = [field for field, of in zip(fields, folds, strict=True) if of != fold]
        cfg = fine_tune(base, magnification, seen, folder / f"fold-{fold + 1}", **training)
        held_back = np.flatnonzero(folds == fold)
        detected = detect_fields(Predictor(cfg), thresholds, [fields[i] for i in held_back])
        for index, detections in zip(held_back, detected, strict=True):
            found[index] = detections
    return found


def average_precision(
    found: Sequence[Detections], fields: Sequence[CorrectedField], names: Sequence[str]
) -> dict[str, float | None]:
    """COCO's AP and AP50 over all classes, in percent; None where nothing is marked."""
    size = [(field.annotated.height, field.annotated.width) for field in fields]
    records = [
        _record(f"{number}", number, *size[number], field.boxes, field.classes)
        for number, field in enumerate(fields)
    ]
    detections = [
        {
            "image_id": number,
            "category_id": int(category) + 1,
            "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
            "score": float(score),
        }
        for number, each in enumerate(found)
        for (x0, y0, x1, y1), score, category in zip(
            each.boxes, each.scores, each.classes, strict=True
        )
    ]
    most = max([100, *(len(each) for each in found)])
    metrics = evaluate_boxes(to_coco(records, names), detections, (1, 10, most)).metrics
    return {name: None if metrics[name] is None else 100 * metrics[name] for name in ("AP", "AP50")}


@contextlib.contextmanager
def _log_handlers():
    """Takes away what a training adds to the loggers, or the next one writes every line twice."""
    loggers = [logging.getLogger(name) for name in ("bccd", "detectron2", "fvcore")]
    before = [list(each.handlers) for each in loggers]
    try:
        yield
    finally:
        for each, handlers in zip(loggers, before, strict=True):
            each.handlers[:] = handlers


def _write_tiles(fields, magnification, cfg, file):
    """The fields as images of INPUT.FIELD_SIZE at the magnification of the training."""
    folder, names = _tiles(file), cfg.MODEL.CLASS_NAMES
    shutil.rmtree(folder, ignore_errors=True)  # of a call that was cut short
    folder.mkdir()
    found = [field_diameter(field, magnification.red_cell) for field in fields]
    known = [diameter for diameter in found if diameter]
    usual = float(np.median(known)) if known else magnification.likely
    records = []
    for field, diameter in zip(fields, found, strict=True):
        factor = magnification.usual / (diameter or usual)
        for tile, boxes, classes in _cut(field, factor, tuple(cfg.INPUT.FIELD_SIZE)):
            path, number = folder / f"{len(records) + 1}.png", len(records) + 1
            cv2.imwrite(str(path), tile)
            records.append(_record(str(path), number, *tile.shape[:2], boxes, classes))
    text = json.dumps(to_coco(records, names, folder)).encode()
    write_atomically(file, lambda out: out.write(text))


def _tiles(file):
    return file.with_name("fields")


def _record(file_name, number, height, width, boxes, classes):
    annotations = [
        {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": category, "iscrowd": 0}
        for box, category in zip(boxes.tolist(), classes.tolist(), strict=True)
    ]
    about = {"file_name": file_name, "image_id": number, "height": height, "width": width}
    return {**about, "annotations": annotations}


def _cut(field, factor, size):
    """Tiles (H, W, 3) of one size, boxes and classes in each; what is no image is empty ground."""
    image = field.read()
    whole = tuple(max(1, round(side * factor)) for side in image.shape[:2])
    image = resize(image, whole)
    scaled = field.boxes * (
        [whole[1] / field.annotated.width, whole[0] / field.annotated.height] * 2
    )
    for top in _starts(whole[0], size[0]):
        for left in _starts(whole[1], size[1]):
            tile = np.empty((*size, 3), np.uint8)
            tile[:] = GROUND
            part = image[top : top + size[0], left : left + size[1]]
            tile[: part.shape[0], : part.shape[1]] = part
            boxes = scaled - ([left, top] * 2)
            inside = boxes.clip(0, [size[1], size[0]] * 2)
            shares = _areas(inside) / _areas(boxes).clip(min=1e-9)
            kept = shares >= _LEAST_INSIDE
            yield tile, inside[kept], field.classes[kept]


def _areas(boxes):
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)


def _starts(length, side):
    """Where tiles of ``side`` start that cover ``length``."""
    count = max(1, -(-length // side))
    return np.linspace(0, max(0, length - side), count).round().astype(int).tolist()
