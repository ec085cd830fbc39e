"""Score thresholds for counting, chosen on several data sets."""

from collections.abc import Iterator, Sequence

import numpy as np

from bccd.counting.load import ImagePredictor
from bccd.counting.unbiased_thresholds import unbiased_thresholds
from bccd.data.images.decoding import read_bgr
from bccd.data.record_boxes import boxes_and_classes
from bccd.data.records import incomplete_classes, load_records


def choose_on(
    predictor: ImagePredictor, datasets: Sequence[str], otherwise: float | None = None
) -> dict[str, float]:
    """Thresholds with which as many cells count on data sets as are marked there.

    The threshold of a class is chosen on those of the data sets that mark it completely.

    Args:
        predictor: with a magnification.
        datasets: registered names, none of which the detector was trained on.
        otherwise: threshold of a class that none of them marks; None: that is an error.

    Returns:
        {class name: score}.

    Raises:
        FileNotFoundError, ValueError: a data set cannot be read; no cell of a class is marked, or
            the predictor counts images as they are.
    """
    if predictor.magnification is None:
        raise ValueError("COUNTING.RED_CELL_DIAMETER is 0: the model counts images as they are")
    names = predictor.class_names
    chosen = unbiased_thresholds(predictor, marked_fields(datasets, names))
    for name in {name for dataset in datasets for name in incomplete_classes(dataset)}:
        complete = [d for d in datasets if name not in incomplete_classes(d)]
        chosen.pop(name, None)
        if complete:
            found = unbiased_thresholds(predictor, marked_fields(complete, names))
            chosen |= {name: found[name]} if name in found else {}
    missing = [name for name in names if name not in chosen]
    if missing and otherwise is None:
        raise ValueError(f"no {missing[0]} is marked, by which its threshold could be chosen")
    return {name: chosen.get(name, otherwise) for name in names}


def marked_fields(
    datasets: Sequence[str], class_names: Sequence[str]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Image, uint8 BGR, and classes of the marked cells, of each record of data sets."""
    for dataset in datasets:
        for record in load_records(dataset, class_names, need_boxes=True):
            yield read_bgr(record["file_name"]), boxes_and_classes(record)[1]
