"""Accuracy and time of exported detectors on a registered data set."""

import time
from functools import partial

import numpy as np

from bccd.benchmark.timing import quartiles
from bccd.config import get_bccd_cfg
from bccd.data.loader import build_test_loader
from bccd.evaluation.evaluator import BCCDEvaluator
from bccd.evaluation.inference import inference_on_dataset
from bccd.export.runtime import to_array


def build_loader(metadata, dataset):
    """The test loader of a data set, its images resized as ``metadata`` says."""
    cfg = get_bccd_cfg()
    cfg.INPUT.FORMAT = metadata.channel_order
    cfg.INPUT.FIXED_SIZE = tuple(metadata.fixed_size)
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = metadata.min_size, metadata.max_size
    return build_test_loader(cfg, dataset)


def evaluate(predictor, dataset, output_dir, bootstrap_samples=1000):
    """Evaluate as ``train_net.py --eval-only`` does, and write the same files.

    Args:
        predictor (ExportedPredictor): counts at the thresholds of its file.
        dataset (str): registered name.
        output_dir: folder for the files.
        bootstrap_samples (int): of the 95% intervals; 0 gives none.

    Returns:
        dict: ``bbox``, ``count`` and ``time``, see BCCDEvaluator and inference_on_dataset.
    """
    evaluator = BCCDEvaluator(
        dataset,
        str(output_dir),
        operating_points=predictor.operating_points,
        bootstrap_samples=bootstrap_samples,
    )
    loader = build_loader(predictor.metadata, dataset)
    return inference_on_dataset(partial(_run, predictor), loader, evaluator)


def time_in_turn(predictors, dataset, count=50):
    """Time detectors on the same images, one after the other on each.

    What else the machine does meets all of them alike, so that their ratios say more than their
    times. Each runs twice and the second run counts; which is first changes with the image.

    Args:
        predictors (list[ExportedPredictor]): those of one data set need not share a size.
        dataset (str): registered name.
        count (int): images to use.

    Returns:
        list of dicts, one for each: ``milliseconds`` of a run of the file, and ``speedup`` (time of
        the first by its own, image by image), both as :func:`quartiles`.
    """
    loaders = [build_loader(p.metadata, dataset) for p in predictors]
    times = []
    for number, records in zip(range(count), zip(*loaders, strict=True), strict=False):
        images = [to_array(batch[0])[None] for batch in records]
        row = [0.0] * len(predictors)
        for place in range(len(predictors)):
            index = (place + number) % len(predictors)
            row[index] = _milliseconds(predictors[index].runtime, images[index])
        times.append(row)
    times = np.array(times)
    return [
        {"milliseconds": quartiles(own), "speedup": quartiles(times[:, 0] / own)} for own in times.T
    ]


def _run(predictor, batch):
    """Detectron2's model contract."""
    return [{"instances": predictor.detect(inputs)} for inputs in batch]


def _milliseconds(runtime, images):
    runtime(images)
    start = time.perf_counter()
    runtime(images)
    return 1e3 * (time.perf_counter() - start)
