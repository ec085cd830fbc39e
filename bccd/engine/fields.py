"""The fields of view that a detector is trained on: their size, and the size of their red cells."""

import contextlib
import logging
from statistics import median

import numpy as np
from detectron2.config import CfgNode

from bccd.data.classes import find_class
from bccd.data.record_boxes import boxes_and_classes
from bccd.data.records import load_records
from bccd.engine.cell_size import typical_diameter

# Relative difference from the config up to which it is left as it is.
_TOLERANCE = 0.1


def with_training_fields(cfg: CfgNode) -> tuple[CfgNode, list[str]]:
    """``cfg`` with what counting needs to know of DATASETS.TRAIN, and what was changed.

    INPUT.FIELD_SIZE and COUNTING.RED_CELL_DIAMETER become those of the images. A config of BCCD
    states BCCD's; with another data set they would lead to wrong counts. What is stated stays where
    it fits the data, and where COUNTING.RED_CELL_DIAMETER is 0. COUNTING.THRESHOLDS and
    COUNTING.INTERVALS become empty: they are of another training, perhaps of other classes.

    Returns:
        the config, and sentences for the log, which needs the config to be set up.

    Raises:
        FileNotFoundError, ValueError: there is no data set, or one cannot be read.
    """
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty; name a registered dataset")
    changes, sentences = {}, []
    if cfg.COUNTING.THRESHOLDS or any(cfg.COUNTING.INTERVALS.values()):
        changes |= no_counting_scores(cfg)
        sentences.append(
            f"COUNTING.THRESHOLDS {cfg.COUNTING.THRESHOLDS} and COUNTING.INTERVALS are not taken "
            "over: this training makes other scores. Choose them again with "
            "tools/choose_counting_thresholds.py and tools/calibrate_intervals.py"
        )
    stated = cfg.COUNTING.RED_CELL_DIAMETER, tuple(cfg.INPUT.FIELD_SIZE)
    if stated[0]:
        size, diameter = _measure_fields(cfg)
        if not _alike(stated, (diameter, size)):
            changes |= {"INPUT.FIELD_SIZE": size, "COUNTING.RED_CELL_DIAMETER": round(diameter, 1)}
            cells = f"red cells of {diameter:.0f} pixels" if diameter else "no red cells"
            sentences.append(
                f"The training images are of about {size[1]} x {size[0]} pixels with {cells}: "
                "INPUT.FIELD_SIZE and COUNTING.RED_CELL_DIAMETER follow them"
            )
    if not changes:
        return cfg, []
    cfg = cfg.clone()
    cfg.defrost()
    cfg.merge_from_list([part for change in changes.items() for part in change])
    return cfg, sentences


def no_counting_scores(cfg: CfgNode) -> dict[str, tuple]:
    """The keys that depend on the scores of a trained model, each with its empty value."""
    intervals = (f"COUNTING.INTERVALS.{key}" for key in cfg.COUNTING.INTERVALS)
    return dict.fromkeys(("COUNTING.THRESHOLDS", *intervals), ())


def _measure_fields(cfg):
    """Median size of the training images, (height, width), and diameter of their red cells."""
    names = cfg.MODEL.CLASS_NAMES
    with _without_warnings():
        records = [r for name in cfg.DATASETS.TRAIN for r in load_records(name, names)]
    size = tuple(int(median(r[side] for r in records)) for side in ("height", "width"))
    return size, typical_diameter(_red_cells(records, find_class("RBC", names)), size)


@contextlib.contextmanager
def _without_warnings():
    """The data loader reads the same annotations (a millisecond an image), and warns of them."""
    readers = logging.getLogger("bccd.data")
    before = readers.level
    readers.setLevel(logging.ERROR)
    try:
        yield
    finally:
        readers.setLevel(before)


def _alike(stated, found):
    """Whether (diameter, size) of the config and of the data are one magnification."""
    if not found[0] or not stated[1]:
        return False
    return abs(_share(*found) / _share(*stated) - 1) <= _TOLERANCE


def _red_cells(records, red_cell):
    """Boxes of the red cells of each record, its width and height; ``red_cell`` may be None."""
    for record in records:
        boxes, classes = boxes_and_classes(record)
        chosen = classes == (-1 if red_cell is None else red_cell)
        yield boxes[chosen], record["width"], record["height"]


def _share(diameter, size):
    """The diameter relative to the side of a square as large as the field."""
    return diameter / np.sqrt(np.prod(size))
