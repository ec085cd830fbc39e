#!/usr/bin/env python3
"""Measure how many pictures of counted cells one thread draws and writes in a second.

    python tools/benchmark_drawing.py
    python tools/benchmark_drawing.py --rounds 50 --size 480 640 --output output/drawing.json

Draws synthetic smears with the boxes of their cells, and with a crowd of boxes; Detectron2's
Visualizer draws the same in turn. docs/benchmark.md says what each figure is.
"""

import argparse
import json
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch

from bccd.benchmark.drawing import measure_drawing
from bccd.benchmark.table import drawing_table
from bccd.evaluation.machine import describe_measurement


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="images of each kind")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--output", type=Path, default=Path("output/drawing.json"))
    args = parser.parse_args(argv)
    if min(args.rounds, *args.size) < 1:
        parser.error("--rounds and --size must be at least 1")
    return args


def main(argv: list[str] | None = None) -> None:
    """Measure, print the table and write the JSON."""
    args = parse_arguments(argv)
    torch.set_num_threads(1)
    report = describe_measurement()
    report["size"] = args.size
    report["pictures"] = measure_drawing(args.rounds, args.size)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(drawing_table(report["pictures"]))
    load = report["machine"]["load_before"]
    if load > 0.5:
        print(f"The machine was not idle ({load:.1f} cores busy): its speed is worth little")
    print(f"Written to {args.output}")


if __name__ == "__main__":
    main()
