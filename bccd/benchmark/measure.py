"""All figures of one config."""

from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode

from bccd.benchmark.ceiling import best_gflops
from bccd.benchmark.data import time_data
from bccd.benchmark.memory import peak_growth
from bccd.benchmark.operations import count_flops, count_traffic
from bccd.benchmark.split import split, watch_model, watch_training
from bccd.benchmark.timing import timing
from bccd.benchmark.workload import Workload, read_config, smear_batch
from bccd.modeling.precision import amp_dtype

BATCHES = (1, 2, 4, 8)


def precision_of(cfg: CfgNode) -> torch.dtype | None:
    """The type of mixed precision that ``cfg`` trains with here; None for single precision."""
    return amp_dtype(cfg.SOLVER.AMP, cfg.MODEL.DEVICE == "cuda")


def measure(
    config_file: Path,
    opts: Sequence[str],
    *,
    size: tuple[int, int],
    batch_size: int,
    seconds: float,
    ceiling: dict,
) -> dict:
    """Measure one config.

    Args:
        config_file, opts: the config and ``KEY VALUE`` pairs.
        size: height and width of the images before the config's resize.
        batch_size: of the training iteration.
        seconds: measuring time of each figure.
        ceiling: of :func:`.measure_ceiling`.

    Returns:
        dict that JSON can hold, see docs/benchmark.md.
    """
    cfg = read_config(config_file, opts)
    dtype = precision_of(cfg)
    workload = Workload(config_file, opts, size=size, batch_size=batch_size, amp_dtype=dtype)
    data = time_data(cfg, size, batch_size, seconds)
    result = {
        "config": config_file.name,
        "opts": list(opts),
        "network_input": tuple(workload.image[0]["image"].shape[1:]),
        "parameters": sum(p.numel() for p in workload.model.parameters()),
        **_forward(workload, ceiling, seconds),
        "throughput": _throughput(workload, seconds),
        **_training(workload, dtype, ceiling, seconds),
    }
    for name, kind in (("forward_split_ms", "test"), ("train_split_ms", "train")):
        result[name] = {"data": data[kind]["median_ms"], **result[name]}
    return result


def _forward(workload, ceiling, seconds):
    """Latency, parts, operations and memory of one image."""
    time = timing(workload.forward, seconds)
    parts = split(workload.forward, lambda s: watch_model(s, workload.detector), seconds)
    gflop = count_flops(workload.model.eval(), workload.image)
    peak = best_gflops(ceiling)
    return {
        "gflop": gflop["total"],
        "forward": time,
        "forward_split_ms": parts,
        "forward_share_of_operations": 1e3 * gflop["total"] / time["median_ms"] / peak,
        **_share_of_copy("forward", workload.forward, time, ceiling),
        "backbone_share_of_operations": 1e3 * gflop["backbone"] / parts["backbone"] / peak,
        "forward_peak_mib": peak_growth(workload.forward),
    }


def _throughput(workload, seconds):
    """Images a second at each of ``BATCHES``, and the best of them."""
    images = smear_batch(workload.cfg, workload.size, max(BATCHES))
    rates = {}
    for count in BATCHES:
        time = timing(lambda count=count: workload.forward(images[:count]), seconds)
        rates[count] = 1e3 * count / time["median_ms"]
    best = max(rates, key=rates.get)
    return {"images_per_second": rates, "best_batch": best, "best": rates[best]}


def _training(workload, dtype, ceiling, seconds):
    """Time, parts, operations and memory of a training iteration, without its data."""

    def watch(sections):
        watch_model(sections, workload.model)
        watch_training(sections, workload.optimizer, workload.ema)

    time = timing(workload.train, seconds)
    parts = split(workload.train, watch, seconds)
    gflop = count_flops(workload.model.train(), workload.batch)["total"]
    precision = str(dtype or torch.float32).removeprefix("torch.")
    # float16 has no ceiling of its own: GPUs multiply it as fast as bfloat16.
    peak = best_gflops(ceiling, "float32" if dtype is None else "bfloat16")
    return {
        "train_gflop": gflop,
        "train_precision": precision,
        "train": time,
        "train_split_ms": parts,
        "train_share_of_operations": 1e3 * gflop / time["median_ms"] / peak,
        **_share_of_copy("train", workload.train, time, ceiling),
        "train_peak_mib": peak_growth(workload.train),
    }


def _share_of_copy(name, function, time, ceiling):
    """Memory traffic of one run, relative to what a copy would move in the same time."""
    traffic = count_traffic(function)
    share = 1e3 * traffic / time["median_ms"] / ceiling["copy_gb_s"]
    return {f"{name}_traffic_gb": traffic, f"{name}_share_of_copy": share}
