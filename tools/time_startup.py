#!/usr/bin/env python3
"""Time demo.py from its start to the end of its first image, with PyTorch and with ONNX Runtime.

python tools/time_startup.py
python tools/time_startup.py --runs 9 --output results/performance/startup.json
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import cv2

from bccd.benchmark.startup import time_starts
from bccd.benchmark.table import startup_table
from bccd.data.synthetic import draw_smear
from bccd.evaluation.machine import describe_measurement


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each; default: 5")
    parser.add_argument("--output", type=Path, default=Path("output/startup.json"), metavar="FILE")
    args = parser.parse_args(argv)
    measurement = describe_measurement()
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder, "smear.png")
        cv2.imwrite(str(image), draw_smear(1)[0])
        starts = time_starts(image, Path(folder, "out"), args.runs)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({**measurement, "starts": starts}, indent=2) + "\n")
    print(f"{startup_table(starts)}\n\nWritten to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
