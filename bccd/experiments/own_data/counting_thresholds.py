"""Scores from which a model of own data counts a cell, by the fields of the validation part."""

import logging

from detectron2.config import CfgNode

from bccd.counting.predictor import Predictor
from bccd.counting.unbiased_thresholds import unbiased_thresholds
from bccd.experiments.counting_thresholds import marked_fields

# Cells of a class: with fewer, the one threshold that counts them right is a matter of chance.
LEAST_CELLS = 10

logger = logging.getLogger(__name__)


def choose_counting_thresholds(cfg: CfgNode) -> tuple[float, ...]:
    """COUNTING.THRESHOLDS with which the counts of DATASETS.VAL are right on average.

    A class of which fewer than LEAST_CELLS are marked there keeps its operating point.

    Args:
        cfg: of the trained model; MODEL.WEIGHTS names its checkpoint, with operating points.

    Returns:
        scores by class; empty where the model has no class of red cells, and counts every image as
        it is, with its operating points.
    """
    predictor = Predictor(cfg)
    names, points = predictor.class_names, predictor.operating_points
    if predictor.magnification is None:
        logger.info("Counting uses the operating points: it cannot tell the magnification")
        return ()
    fields = marked_fields(cfg.DATASETS.VAL, names)
    chosen = unbiased_thresholds(predictor, fields, LEAST_CELLS)
    if few := [name for name in names if name not in chosen]:
        logger.warning(
            f"fewer than {LEAST_CELLS} cells of {', '.join(few)} are marked in the validation "
            "images: their score is the one with the best F1"
        )
    return tuple((points | chosen)[name] for name in names)
