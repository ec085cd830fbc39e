#!/usr/bin/env python3
"""Kill trainings, countings and the worker of a study at random moments: results/kills.json.

    python tools/kill_test.py --kills 100
    python tools/kill_test.py counting --kills 20

A work is killed up to four times by SIGKILL, then left to its end; what it has come to must be what
an unkilled one comes to: the same weights bit by bit, the same files, the same study. Exit status:
0 all were the same, 1 one was not.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.evaluation.machine import describe_measurement
from bccd.reliability.killed_works import WORKS
from bccd.reliability.kills import kill_work
from bccd.reliability.record import kills_table, record, renew_page


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("works", nargs="*", help=f"of {', '.join(WORKS)}; default: all")
    parser.add_argument("--kills", type=int, default=100, help="of each; default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument(
        "--minutes", type=float, default=600, help="for each, after which no other work begins"
    )
    parser.add_argument("--output", type=Path, help="JSON file that takes the numbers")
    parser.add_argument("--page", type=Path, help="whose table is renewed from --output")
    args = parser.parse_args(argv)
    if unknown := set(args.works) - set(WORKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(WORKS)}")
    different = 0
    for name in args.works or WORKS:
        measured = describe_measurement()
        with tempfile.TemporaryDirectory() as folder:
            done = kill_work(
                WORKS[name](), Path(folder), args.kills, seed=args.seed, minutes=args.minutes
            )
        different += len(done.different)
        for number, what in done.different:
            print(f"{name}, work {number}: another {what}")
        print(f"{name}: {done.kills} kills of {done.works} works, {len(done.different)} different")
        if args.output:
            record(args.output, name, {**measured, **done.to_json()})
    if args.output and args.page:
        renew_page(args.page, kills_table(json.loads(args.output.read_text())), "kills")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
