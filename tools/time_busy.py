#!/usr/bin/env python3
"""Time a detector alone and beside programs that keep the CPU busy.

python tools/time_busy.py
python tools/time_busy.py --seconds 20 --output results/performance/busy.json
"""

import argparse
import json
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.benchmark.busy import measure_busy
from bccd.benchmark.table import busy_table
from bccd.evaluation.machine import describe_measurement


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--seconds", type=float, default=5, help="for each figure; default: 5")
    parser.add_argument("--others", type=int, help="programs beside it; default: one a core")
    parser.add_argument("--output", type=Path, default=Path("output/busy.json"), metavar="FILE")
    args = parser.parse_args(argv)
    measurement = describe_measurement()
    rows = measure_busy(args.seconds, args.others)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps({**measurement, "busy": rows}, indent=2) + "\n")
    print(f"{busy_table(rows)}\n\nWritten to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
