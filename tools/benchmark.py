#!/usr/bin/env python3
"""Time the detectors: forward pass of one image, training iteration, size and FLOPs.

    python tools/benchmark.py                                  # the lite configs
    python tools/benchmark.py --config-file configs/SSD/ssd_lite_bccd.yaml --threads 1

Weights are random: timing does not need trained ones, except that a trained SSD has fewer boxes
left for its non-maximum suppression. The table and ``benchmark.json`` give the median and the
quartiles (interquartile range) of repeated runs.
"""

import argparse
import json
from pathlib import Path

import torch
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from tabulate import tabulate
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from bccd.config import get_bccd_cfg
from bccd.data.augmentation import build_augmentations
from bccd.data.synthetic import draw_smear
from bccd.engine.optimizer import build_optimizer
from bccd.evaluation.machine import describe_machine

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
LITE_CONFIGS = ("SparseRCNN/sparse_rcnn_lite_bccd.yaml", "SSD/ssd_lite_bccd.yaml")


def smear_batch(cfg, size, count):
    """``count`` smears of ``size`` (height, width), resized as the config does for testing."""
    augmentations = T.AugmentationList(build_augmentations(cfg, is_train=False))
    batch = []
    for seed in range(count):
        image, boxes, classes = draw_smear(seed, *size)
        inputs = T.AugInput(image, boxes=boxes)
        augmentations(inputs)
        instances = Instances(inputs.image.shape[:2])
        instances.gt_boxes = Boxes(torch.as_tensor(inputs.boxes, dtype=torch.float32))
        instances.gt_classes = torch.as_tensor(classes)
        tensor = torch.as_tensor(inputs.image.transpose(2, 0, 1).copy())
        batch.append({"image": tensor, "instances": instances})
    return batch


def timing(statement, names, threads, seconds):
    """Median and quartiles in milliseconds of a statement over the given names."""
    timer = Timer(statement, globals=names, num_threads=threads)
    timer.timeit(2)  # warm-up
    measured = timer.blocked_autorange(min_run_time=seconds)
    return {
        "median_ms": 1e3 * measured.median,
        "quartile_ms": [1e3 * measured._p25, 1e3 * measured._p75],
        "runs": len(measured.raw_times),
    }


def train_iteration(model, optimizer, batch):
    """Forward, backward and optimizer step of one batch."""
    optimizer.zero_grad()
    sum(model(batch).values()).backward()
    optimizer.step()
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def forward(model, batch):
    """Detections of one batch."""
    with torch.inference_mode():
        model(batch)
    if model.device.type == "cuda":
        torch.cuda.synchronize()


def count_flops(model, batch):
    """Floating-point operations of one forward pass; a multiply-add is two."""
    # The counter's hooks need gradients to be on.
    with FlopCounterMode(display=False) as counter:
        model(batch)
    return counter.get_total_flops()


def benchmark(config_file, size, batch_size, threads, seconds):
    """Measure one config; returns a JSON-serialisable dict."""
    cfg = get_bccd_cfg()
    cfg.merge_from_file(str(config_file))
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    model = build_model(cfg)
    image = smear_batch(cfg, size, 1)
    names = {"model": model.eval(), "batch": image, "forward": forward}
    result = {
        "config": config_file.name,
        "network_input": tuple(image[0]["image"].shape[1:]),
        "parameters": sum(p.numel() for p in model.parameters()),
        "gflop": count_flops(model, image) / 1e9,
        "forward": timing("forward(model, batch)", names, threads, seconds),
    }
    names = {
        "model": model.train(),
        "batch": smear_batch(cfg, size, batch_size),
        "optimizer": build_optimizer(cfg, model),
        "step": train_iteration,
    }
    result["train"] = timing("step(model, optimizer, batch)", names, threads, seconds)
    return result


def row(result):
    """A line of the printed table."""
    height, width = result["network_input"]
    cells = [result["config"], f"{height}x{width}"]
    cells += [f"{result['parameters'] / 1e6:.1f}", f"{result['gflop']:.1f}"]
    for name in ("forward", "train"):
        low, high = result[name]["quartile_ms"]
        cells.append(f"{result[name]['median_ms']:.0f} ({low:.0f}-{high:.0f})")
    return cells


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", type=Path, action="append", help="may be given repeatedly")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--batch-size", type=int, default=2, help="of the training iteration")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=10, help="measuring time per figure")
    parser.add_argument("--output", type=Path, default=Path("output/benchmark.json"))
    args = parser.parse_args(argv)

    configs = args.config_file or [CONFIGS / name for name in LITE_CONFIGS]
    size = tuple(args.size)
    results = []
    for config in configs:
        print(f"Measuring {config.name} ...", flush=True)
        results.append(benchmark(config, size, args.batch_size, args.threads, args.seconds))
    machine = {**describe_machine(), "threads": args.threads}
    settings = {"size": size, "train_batch_size": args.batch_size}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(
        json.dumps({"machine": machine, **settings, "results": results}, indent=2) + "\n"
    )
    headers = (
        "config",
        "network input",
        "M parameters",
        "GFLOP",
        "forward ms (quartiles)",
        "train ms (quartiles)",
    )
    print(tabulate([row(r) for r in results], headers, tablefmt="github", disable_numparse=True))
    print(f"{machine}, {settings}\nWritten to {args.output}")


if __name__ == "__main__":
    main()
