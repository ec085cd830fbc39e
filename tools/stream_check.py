#!/usr/bin/env python3
"""Measure memory and speed of demo.py on a large folder, with one process and with several.

    python tools/stream_check.py --images 10000 --num-gpus 1 --output output/stream.json
    python tools/stream_check.py --images 2000 --num-gpus 1 2         # on the same cores
    python tools/stream_check.py --images 2000 --num-gpus 1 2 --cores-each 1
    python tools/stream_check.py --images 2000 --demo --model sparse_rcnn_lite

Draws some synthetic smears into a temporary folder, links each many times, and runs demo.py on them
with --no-pictures, once for every number of processes. Exits with 1 if memory grew.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bccd.benchmark.streaming import TOLERANCE, summarise, watch_demo, write_smears
from bccd.benchmark.table import streaming_table
from bccd.evaluation.machine import describe_measurement
from bccd.processes import available_cores


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=1000, metavar="N")
    parser.add_argument("--distinct", type=int, default=20, metavar="K", help="smears to draw")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument(
        "--num-gpus", type=int, nargs="+", default=[1], metavar="P", help="processes of each run"
    )
    parser.add_argument(
        "--cores-each", type=int, metavar="C", help="of every process; default: all share all"
    )
    parser.add_argument("--output", type=Path, default=Path("output/stream.json"))
    parser.add_argument(
        "--demo", nargs=argparse.REMAINDER, default=[], metavar="FLAG", help="more flags of demo.py"
    )
    args = parser.parse_args(argv)
    if (args.cores_each or 0) * max(args.num_gpus) > available_cores():
        parser.error(f"--cores-each {args.cores_each}: there are {available_cores()} cores")
    return args


def run_all(args: argparse.Namespace) -> list[dict]:
    """Run demo.py for every number of processes; returns what ``summarise`` returns for each."""
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder, "images")
        images.mkdir()
        write_smears(images, args.images, args.distinct, args.size)
        for number, processes in enumerate(args.num_gpus):
            print(f"{args.images} images, processes: {processes} ...", flush=True)
            output = Path(folder, f"run{number}")
            output.mkdir()
            cores = processes * args.cores_each if args.cores_each else available_cores()
            samples = watch_demo(images, output, processes, cores, args.demo)
            labels = {"processes": processes, "cores": cores}
            runs.append({**labels, **summarise(samples, args.images)})
    for run in runs:
        run["speed_of_first_run"] = _ratio(run["images_per_second"], runs[0]["images_per_second"])
    return runs


def _ratio(value, base):
    return value / base if value and base else None


def describe(run: dict) -> str:
    """A sentence on the memory of a run."""
    growth = run["growth_percent"]
    if growth is None:
        return f"{run['processes']} process(es): too few images to tell whether memory grew"
    verdict = "memory is constant" if run["constant"] else "MEMORY GREW"
    return (
        f"{run['processes']} process(es): {verdict}: its peak in the second half of the run is "
        f"{growth:+.1f}% of that before (up to {TOLERANCE:.0f}% is the allocator's)"
    )


def main(argv: list[str] | None = None) -> int:
    """Run, print the tables and write the JSON; returns the exit status."""
    args = parse_arguments(argv)
    measurement = describe_measurement()
    runs = run_all(args)
    report = {
        **measurement,
        **{key: getattr(args, key) for key in ("images", "distinct", "size", "demo")},
        "runs": runs,
    }
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print("", streaming_table(runs), "", *map(describe, runs), sep="\n")
    load = report["machine"]["load_before"]
    if load > 0.5:
        print(f"The machine was not idle ({load:.1f} cores busy): its speed is worth little")
    print(f"Written to {args.output}")
    return 1 if any(run["constant"] is False for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
