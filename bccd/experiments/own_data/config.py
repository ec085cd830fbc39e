"""The config of a fine-tuning on own data: what the recipe of the shipped model needs changed."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from detectron2.config import CfgNode

from bccd.config import get_bccd_cfg
from bccd.counting.load import ModelChoice, build_cfg
from bccd.data.classes import class_key
from bccd.data.formats.annotated_image import AnnotatedImage
from bccd.engine.cell_size import typical_diameter
from bccd.engine.fields import no_counting_scores
from bccd.engine.setup import merge
from bccd.experiments.own_data.split import count_boxes

EPOCHS = 60
MIN_ITERATIONS, MAX_ITERATIONS = 300, 2000
# Of the rate that a shipped model's training from scratch started with.
_LEARNING_RATE_SHARE = 0.5
# Median size of the boxes, the root of their area in pixels, in the images as the detector gets
# them: the shipped models saw 68. Outside these limits, images are resized to have _CELL_SIZE.
_MIN_CELL_SIZE, _MAX_CELL_SIZE, _CELL_SIZE = 28, 200, 68
_MAX_IMAGE_SIZE = 1024  # of the shorter edge: larger ones take too long on a CPU
_RARE = 0.5  # share of the boxes of the most frequent class, below which a class is pasted more


def fine_tuning_config(
    model: str,
    datasets: dict[str, str],
    class_names: Sequence[str],
    images: Sequence[AnnotatedImage],
    output: str,
    *,
    iterations: int | None,
    seed: int,
    opts: Sequence[str] = (),
) -> CfgNode:
    """Config that fine-tunes a model.

    Args:
        model: name of a shipped model, or path of a checkpoint with its config beside it.
        datasets: "train", "val" and "test" to names of data sets.
        class_names: of the data, in the order of the new model.
        images: of the training part.
        output: OUTPUT_DIR.
        iterations: SOLVER.MAX_ITER; None: EPOCHS passes over the images, within limits.
        seed: SEED.
        opts: ``KEY VALUE`` list, which comes last.

    Raises:
        FileNotFoundError, ValueError: an unknown model, key or value.
    """
    choice = ModelChoice(model=model)
    cfg = build_cfg(choice).clone()
    cfg.defrost()
    if choice.shipped_name:
        cfg.SOLVER.BASE_LR *= _LEARNING_RATE_SHARE
    else:
        cfg.MODEL.WEIGHTS = str(Path(cfg.MODEL.WEIGHTS).resolve())
    # What concerns the machine and the data of the training before.
    cfg.DATALOADER.NUM_WORKERS = get_bccd_cfg().DATALOADER.NUM_WORKERS
    cfg.DATASETS.IMPORT, cfg.TEST.OPERATING_POINTS = (), ()
    cfg.TEST.EXPECTED_RESULTS, cfg.TEST.EXPECTED_RESULTS_DATASET = [], ""
    for part, name in datasets.items():
        cfg.DATASETS[part.upper()] = (name,)
    cfg.OUTPUT_DIR, cfg.SEED = output, seed
    cfg.MODEL.CLASS_NAMES, cfg.MODEL.CLASS_COLORS = tuple(class_names), ()
    _set_classes(cfg, class_names, images)
    _set_sizes(cfg, images)
    _set_schedule(cfg, len(images), iterations)
    merge(cfg, "", list(opts))
    return cfg


def _set_classes(cfg, class_names, images):
    """What names classes: labels are taken to be complete, and rare classes are pasted more."""
    cfg.INPUT.UNLABELLED_IF_ABSENT = ()
    cfg.MODEL.MISSING_LABELS.ENABLED, cfg.MODEL.MISSING_LABELS.CLASSES = False, ()
    counts = count_boxes(images)
    most = max(counts.values(), default=0)
    rare = [name for name in class_names if 0 < counts[class_key(name)] < _RARE * most]
    cfg.INPUT.COPY_PASTE.CLASSES = tuple(rare)
    cfg.INPUT.COPY_PASTE.ENABLED = bool(rare)


def _set_sizes(cfg, images):
    """Sizes of the images and, where the cells would be too small or too large, of the input."""
    cfg.INPUT.FIELD_SIZE = tuple(
        int(median(getattr(image, side) for image in images)) for side in ("height", "width")
    )
    cfg.COUNTING.RED_CELL_DIAMETER = typical_diameter(_red_cells(images), cfg.INPUT.FIELD_SIZE)
    for key, nothing in no_counting_scores(cfg).items():
        cfg.merge_from_list([key, nothing])
    sizes = [
        ((x1 - x0) * (y1 - y0)) ** 0.5 / min(image.width, image.height)
        for image in images
        for x0, y0, x1, y1 in (box.corners for box in image.boxes)
        if x1 > x0 and y1 > y0
    ]
    if cfg.INPUT.FIXED_SIZE or not sizes:
        return
    found = median(sizes) * cfg.INPUT.MIN_SIZE_TEST
    if _MIN_CELL_SIZE <= found <= _MAX_CELL_SIZE:
        return
    factor = min(_CELL_SIZE / found, _MAX_IMAGE_SIZE / cfg.INPUT.MIN_SIZE_TEST)
    for key in ("MIN_SIZE_TEST", "MAX_SIZE_TEST", "MAX_SIZE_TRAIN"):
        cfg.INPUT[key] = _scaled(cfg.INPUT[key], factor)
    cfg.INPUT.MIN_SIZE_TRAIN = tuple(_scaled(size, factor) for size in cfg.INPUT.MIN_SIZE_TRAIN)


def _red_cells(images):
    """Boxes of the red cells of each image, its width and height."""
    key = class_key("RBC")
    for image in images:
        corners = [box.corners for box in image.boxes if class_key(box.name) == key]
        yield np.array(corners, dtype=float).reshape(-1, 4), image.width, image.height


def _scaled(size, factor):
    return max(round(size * factor / 32), 2) * 32


def _set_schedule(cfg, count, iterations):
    solver = cfg.SOLVER
    if iterations is None:
        passes = round(EPOCHS * count / (solver.IMS_PER_BATCH * solver.ACCUMULATE))
        iterations = min(max(passes, MIN_ITERATIONS), MAX_ITERATIONS)
    solver.MAX_ITER = iterations
    solver.WARMUP_ITERS = min(solver.WARMUP_ITERS, iterations // 10)
    solver.CHECKPOINT_PERIOD = cfg.TEST.EVAL_PERIOD = max(iterations // 6, 1)
    # The average forgets what the shipped model and the first fifth of the training were.
    solver.EMA.DECAY = min(solver.EMA.DECAY, max(1 - 5 / iterations, 0.0))
