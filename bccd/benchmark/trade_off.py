"""Accuracy against time of one trained detector under different options."""

import itertools
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from detectron2.config import CfgNode

from bccd.benchmark.timing import in_turn
from bccd.data.loading.loader import build_test_loader
from bccd.engine.allocator import keep_freed_memory
from bccd.engine.checkpoint import with_checkpoint_classes
from bccd.engine.setup import available_device, merge
from bccd.engine.trained_detector import load_prepared
from bccd.evaluation.evaluator import CHOOSE, BCCDEvaluator
from bccd.evaluation.inference import inference_on_dataset
from bccd.modeling.fast_inference.prepare import inference_dtype

WARMUP = 3


def combine(axes: Mapping[str, Sequence]) -> list[dict]:
    """Every combination of the axes' values.

    Args:
        axes: values of each config key.

    Returns:
        list[dict[str, str]]: key to value; the last axis varies fastest.
    """
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def measure_trade_off(
    cfg: CfgNode, variants: Sequence[dict], dataset: str, rounds: int
) -> list[dict]:
    """AP and time of each variant.

    The variants take turns on every image, in an order that changes, so that other load on the
    machine affects all equally. The time is that of the model alone, one image at a time.

    Args:
        cfg: of a trained detector; left unchanged.
        variants: keys to change and their values.
        dataset: registered name; not the one that final results are for.
        rounds: how often every image is timed.

    Returns:
        A dict for each variant: ``options``; ``AP`` and ``AP75`` in percent; ``ms``, and ``ratio``,
        the time of the first variant divided by its own for each image, as :func:`.quartiles`.

    Raises:
        ValueError: an INFERENCE.DTYPE that this machine would replace by another.
    """
    keep_freed_memory()
    configs = [_changed(cfg, options) for options in variants]
    for config in configs:
        _check_dtype(config)
    models = [load_prepared(config)[0] for config in configs]
    box_results = [_accuracy(*pair, dataset) for pair in zip(models, configs, strict=True)]
    times = _times(models, [build_test_loader(config, dataset) for config in configs], rounds)
    return [
        {
            "options": options,
            "AP": found["AP"],
            "AP75": found["AP75"],
            "ms": milliseconds,
            "ratio": ratio,
        }
        for options, found, (milliseconds, ratio) in zip(variants, box_results, times, strict=True)
    ]


def _changed(cfg, options):
    cfg = cfg.clone()
    cfg.defrost()
    merge(cfg, "", [part for pair in options.items() for part in pair])
    return cfg


def _check_dtype(cfg):
    name = cfg.INFERENCE.DTYPE
    used = inference_dtype(name, available_device(cfg.MODEL.DEVICE))
    if str(used) != f"torch.{name}":
        raise ValueError(f"INFERENCE.DTYPE {name} cannot be measured here: {used} would be used")


def _accuracy(model, cfg, dataset):
    names = with_checkpoint_classes(cfg).MODEL.CLASS_NAMES
    evaluator = BCCDEvaluator(
        dataset, class_names=names, operating_points=CHOOSE, bootstrap_samples=0
    )
    return inference_on_dataset(model, build_test_loader(cfg, dataset), evaluator)["bbox"]


@torch.no_grad()
def _times(models, loaders, rounds):
    """What ``in_turn`` returns of the models, on every image ``rounds`` times."""
    batches = list(zip(*loaders, strict=True))
    for model, batch in zip(models, batches[0], strict=True):
        for _ in range(WARMUP):
            model(batch)
    rows = (map(partial, models, inputs) for inputs in itertools.chain(*[batches] * rounds))
    return in_turn(map(list, rows))
