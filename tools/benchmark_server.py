#!/usr/bin/env python3
"""Measure bccd serve: thousands of fields in one study, and many readers while counting runs.

    python tools/benchmark_server.py
    python tools/benchmark_server.py --fields 500 --readers 5 --seconds 10

Needs the packages of the extra "serve". The study is drawn smears, counted by the default model;
it is made in a temporary folder, or in --folder, where a second start finds it.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bccd.benchmark.serving import build_study, measure_server
from bccd.console import script
from bccd.evaluation.machine import describe_measurement
from bccd.experiments.json_files import write_json


@script
def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=5000)
    parser.add_argument("--distinct", type=int, default=20, help="images that are drawn")
    parser.add_argument("--waiting", type=int, default=400, help="fields that are to be counted")
    parser.add_argument("--readers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--folder", type=Path, help="of the study; default: a temporary one")
    parser.add_argument("--output", type=Path, default=Path("output/server.json"))
    args = parser.parse_args(argv)
    if not args.distinct + args.waiting <= args.fields:
        raise ValueError("--fields must be as many as --distinct and --waiting together")
    with contextlib.ExitStack() as stack:
        folder = args.folder
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()), "benchmark")
        if not folder.exists():
            build_study(folder, args.fields, args.distinct, args.waiting)
        found = measure_server(folder, args.fields, args.readers, args.seconds)
    found = {**describe_measurement(), **found}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(args.output, found)
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
