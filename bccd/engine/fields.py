"""The fields of view that a detector is trained on: their size, and the size of their red cells."""

import logging
from statistics import median

import numpy as np
from detectron2.config import CfgNode

from bccd.data.classes import find_class
from bccd.data.record_boxes import boxes_and_classes
from bccd.data.records import load_records
from bccd.engine.cell_size import typical_diameter

logger = logging.getLogger(__name__)

# Relative difference from the config up to which it is left as it is.
_TOLERANCE = 0.1


def with_training_fields(cfg: CfgNode) -> CfgNode:
    """``cfg`` with INPUT.FIELD_SIZE and COUNTING.RED_CELL_DIAMETER as in DATASETS.TRAIN.

    A config of BCCD states BCCD's; with another data set they would lead to wrong counts. What is
    stated stays where it fits the data, and where COUNTING.RED_CELL_DIAMETER is 0.

    Raises:
        FileNotFoundError, ValueError: a data set cannot be read.
    """
    stated = cfg.COUNTING.RED_CELL_DIAMETER, tuple(cfg.INPUT.FIELD_SIZE)
    if not stated[0]:
        return cfg
    names = cfg.MODEL.CLASS_NAMES
    records = [r for name in cfg.DATASETS.TRAIN for r in load_records(name, names)]
    size = tuple(int(median(r[side] for r in records)) for side in ("height", "width"))
    diameter = typical_diameter(_red_cells(records, find_class("RBC", names)), size)
    if diameter and stated[1]:
        ratio = _share(diameter, size) / _share(*stated)
        if abs(ratio - 1) <= _TOLERANCE:
            return cfg
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.FIELD_SIZE, cfg.COUNTING.RED_CELL_DIAMETER = size, round(diameter, 1)
    cells = f"red cells of {diameter:.0f} pixels" if diameter else "no red cells"
    logger.info(
        f"The training images are of about {size[1]} x {size[0]} pixels with {cells}: "
        "INPUT.FIELD_SIZE and COUNTING.RED_CELL_DIAMETER follow them"
    )
    return cfg


def _red_cells(records, red_cell):
    """Boxes of the red cells of each record, its width and height; ``red_cell`` may be None."""
    for record in records:
        boxes, classes = boxes_and_classes(record)
        chosen = classes == (-1 if red_cell is None else red_cell)
        yield boxes[chosen], record["width"], record["height"]


def _share(diameter, size):
    """The diameter relative to the side of a square as large as the field."""
    return diameter / np.sqrt(np.prod(size))
