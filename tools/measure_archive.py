#!/usr/bin/env python3
"""Measure bccd count --ray on a cluster of this machine, beside the plain command.

    python tools/measure_archive.py --output output/archive.json
    python tools/measure_archive.py --images 200 --count --model sparse_rcnn_lite --runtime onnx

Draws synthetic smears into a temporary folder and counts in them with the plain command, on a Ray
cluster of one worker and of two of one core each, and of two of which one dies before the command
itself is killed and started again. Exits with 1 if the rows are not those of the plain command.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from bccd.benchmark.archive import measure
from bccd.benchmark.streaming import write_smears
from bccd.benchmark.table import archive_table
from bccd.counting.archive import require_packages
from bccd.evaluation.machine import describe_measurement
from bccd.experiments.json_files import write_json


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=2000, metavar="N")
    parser.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("H", "W"))
    parser.add_argument("--output", type=Path, default=Path("output/archive.json"))
    parser.add_argument(
        "--count", nargs=argparse.REMAINDER, default=[], metavar="FLAG", help="flags of bccd count"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run, print the table and write the JSON; returns the exit status."""
    args = parse_arguments(argv)
    require_packages()
    measurement = describe_measurement()
    with tempfile.TemporaryDirectory() as folder:
        images, results = Path(folder, "images"), Path(folder, "results")
        images.mkdir()
        results.mkdir()
        write_smears(images, args.images, args.images, args.size)
        runs = measure(images, results, args.count)
    about = {key: getattr(args, key) for key in ("images", "size", "count")}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, {**measurement, **about, "archive": runs})
    print(archive_table(runs))
    return 1 if any(run["same"] is False or run.get("kept") is False for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
