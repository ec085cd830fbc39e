"""Detectron2's inference loop, with the time of every image."""

import datetime
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators, inference_context
from detectron2.utils import comm
from detectron2.utils.file_io import PathManager
from detectron2.utils.logger import log_every_n_seconds
from torch import nn
from torch.utils.data import DataLoader

from bccd.evaluation.machine import describe_machine

WARMUP_BATCHES = 5

_logger = logging.getLogger(__name__)


def inference_on_dataset(
    model: Callable[[list[dict]], list[dict]],
    data_loader: DataLoader,
    evaluator: DatasetEvaluator | Sequence[DatasetEvaluator] | None,
) -> dict:
    """Run the model over the loader and evaluate, as Detectron2's function of this name.

    The first WARMUP_BATCHES batches of each process are not timed if at least twice as many follow.
    With loader workers, the data time is what the model waits for. Where the evaluator has an
    ``output_dir``, the times are also written to ``timing.json`` there.

    Args:
        model: callable; an nn.Module runs in eval mode and returns to its former mode.
        data_loader: iterable of batches (lists of dicts), with a length.
        evaluator: DatasetEvaluator, a list of them, or None for the times alone.

    Returns:
        what ``evaluator.evaluate()`` returns and, under "time", seconds per image of all processes:
        ``data_mean data_median data_p95 model_mean model_median model_p95``. An empty dict on all
        but the main process.

    Raises:
        ValueError: the loader is empty on all processes.
    """
    if not hasattr(evaluator, "evaluate"):
        evaluator = DatasetEvaluators(list(evaluator or []))
    evaluator.reset()
    with ExitStack() as stack:
        if isinstance(model, nn.Module):
            stack.enter_context(inference_context(model))
        stack.enter_context(torch.no_grad())
        times = _run(model, data_loader, evaluator)
    times = [t for part in comm.gather(times, dst=0) for t in part]
    results = evaluator.evaluate()
    if not comm.is_main_process():
        return {}
    results = {} if results is None else results
    results["time"] = summarise_times(times)
    _logger.info("Seconds per image: " + _describe(results["time"]))
    output_dir = getattr(evaluator, "output_dir", None)
    if output_dir:
        PathManager.mkdirs(output_dir)
        with PathManager.open(os.path.join(output_dir, "timing.json"), "w") as file:
            summary = {**results["time"], "images_timed": sum(t[2] for t in times)}
            json.dump({**summary, "machine": describe_machine()}, file, indent=2)
            file.write("\n")
    return results


def summarise_times(times: Sequence[tuple[float, float, int]]) -> dict[str, float]:
    """Seconds per image from the times of batches.

    Args:
        times: list of (data seconds, model seconds, number of images), one per batch.

    Returns:
        {"data_mean", "data_median", "data_p95", "model_mean", ...}; each image counts once, with
        its share of its batch.

    Raises:
        ValueError: no batch was timed.
    """
    if not times:
        raise ValueError("The data loader gave no batch; check DATASETS.TEST")
    data, model, images = np.array(times, dtype=np.float64).T
    images = images.astype(np.int64)
    summary = {}
    for name, seconds in (("data", data), ("model", model)):
        per_image = np.repeat(seconds / images, images)
        summary[f"{name}_mean"] = float(per_image.mean())
        summary[f"{name}_median"] = float(np.median(per_image))
        summary[f"{name}_p95"] = float(np.percentile(per_image, 95))
    return summary


def _run(model, data_loader, evaluator):
    """(data seconds, model seconds, images) of each batch after the warm-up."""
    total, times = len(data_loader), []
    _logger.info(f"Start inference on {total} batches")
    start = before_data = time.perf_counter()
    for done, inputs in enumerate(data_loader, start=1):
        before_model = time.perf_counter()
        outputs = model(inputs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        after_model = time.perf_counter()
        times.append((before_model - before_data, after_model - before_model, len(inputs)))
        evaluator.process(inputs, outputs)
        before_data = time.perf_counter()
        left = datetime.timedelta(seconds=int((before_data - start) / done * (total - done)))
        log_every_n_seconds(logging.INFO, f"Inference done {done}/{total}, ETA {left}", n=5)
    return times[WARMUP_BATCHES:] if len(times) >= 3 * WARMUP_BATCHES else times


def _describe(summary):
    return "; ".join(
        f"{part} mean {summary[f'{part}_mean']:.4f}, median {summary[f'{part}_median']:.4f}, "
        f"95th percentile {summary[f'{part}_p95']:.4f}"
        for part in ("data", "model")
    )
