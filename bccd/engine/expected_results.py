"""TEST.EXPECTED_RESULTS: compared with the results of one data set, in training and evaluation."""

import logging
from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.evaluation import verify_results

logger = logging.getLogger(__name__)


def expected_dataset(cfg: CfgNode) -> str | None:
    """Name of the data set that TEST.EXPECTED_RESULTS are of; None where nothing is expected.

    Raises:
        ValueError: it is not known which, or it is in neither DATASETS.VAL nor DATASETS.TEST.
    """
    name, test = cfg.TEST.EXPECTED_RESULTS_DATASET, cfg.DATASETS.TEST
    if not cfg.TEST.EXPECTED_RESULTS:
        return None
    if not name and len(test) != 1:
        raise ValueError(
            f"TEST.EXPECTED_RESULTS are of one data set, and DATASETS.TEST has {len(test)}: name "
            "it in TEST.EXPECTED_RESULTS_DATASET"
        )
    name = name or test[0]
    if name not in (*cfg.DATASETS.VAL, *test):
        raise ValueError(
            f"TEST.EXPECTED_RESULTS_DATASET is {name}, which is neither in DATASETS.VAL "
            f"{tuple(cfg.DATASETS.VAL)} nor in DATASETS.TEST {tuple(test)}"
        )
    return name


def verify_expected_results(
    cfg: CfgNode, datasets: Sequence[str], results: dict, weights: str
) -> None:
    """Compare results with TEST.EXPECTED_RESULTS where their data set is among those evaluated.

    As with Detectron2, the process ends with status 1 where one is off by more than its tolerance.

    Args:
        cfg: see ``bccd.config``.
        datasets: that were evaluated.
        results: of the one data set, or by data set if there are several.
        weights: that were evaluated, for the log.
    """
    name = expected_dataset(cfg)
    if name is None:
        return
    if name not in datasets:
        logger.warning(
            f"TEST.EXPECTED_RESULTS are of {name}; {', '.join(datasets) or 'nothing'} was "
            "evaluated, so there is nothing to compare"
        )
        return
    logger.info(f"Comparing the results of {weights} on {name} with TEST.EXPECTED_RESULTS")
    verify_results(cfg, results if len(datasets) == 1 else results[name])
