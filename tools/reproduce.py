#!/usr/bin/env python3
"""Rows of results from nothing: train, evaluate the test images, keep the files in results/.

    python tools/reproduce.py --list
    python tools/reproduce.py ssd_lite
    python tools/reproduce.py sparse_rcnn_r50 ssd512 --minutes 8
    python tools/reproduce.py ssd_lite --opts SOLVER.MAX_ITER 300
    python tools/reproduce.py ssd_lite_fold1 --trained

configs/experiments/rows.yaml holds the rows. Each command is printed before it runs. Start the same
command again after a kill: the training goes on. With --minutes the rows are trained side by side,
for as many iterations as fit into this time on this machine, and always from the start. With
--trained nothing is trained: output/ROW/model_best.pth, of another machine, is evaluated and kept.
"""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

from tabulate import tabulate

from bccd.experiments.commands import Places, row_commands
from bccd.experiments.rows import read_rows, select_rows
from bccd.experiments.runner import run_commands, run_within


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--list", action="store_true", help="show the rows and do nothing else")
    parser.add_argument("--dry-run", action="store_true", help="print the commands alone")
    parser.add_argument("--trained", action="store_true", help="evaluate what is trained already")
    parser.add_argument("--minutes", type=float, help="train for this time, not in full")
    parser.add_argument(
        "--output", type=Path, default=Path("output"), metavar="DIR", help="default: output"
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="default: results"
    )
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE ... of every command"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status. A wrong command line exits with 2."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        known = read_rows()
        rows = select_rows(known, args.rows)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    if args.list:
        cells = [(row.name, row.title, row.device, row.time) for row in known.values()]
        print(tabulate(cells, ("row", "name in the tables", "device", "time"), "github"))
        return 0
    if not rows:
        parser.error(f"name a ROW: {', '.join(known)}")
    if args.minutes is not None and (args.dry_run or args.trained or args.minutes <= 0):
        parser.error("--minutes takes a time above 0 and goes with neither --dry-run nor --trained")
    return _run(rows, args)


def _run(rows, args):
    places = Places(args.output, args.results, args.opts)
    if args.minutes:
        try:
            problems = run_within(rows, places, args.minutes)
        except ValueError as error:
            problems = [str(error)]
        for problem in problems:
            print(f"reproduce: {problem}", file=sys.stderr)
        return 1 if problems else 0
    commands = [command for row in rows for command in row_commands(row, places, args.trained)]
    if args.dry_run:
        print("\n".join(shlex.join(["python", *command]) for command in commands))
        return 0
    try:
        run_commands(commands)
    except subprocess.CalledProcessError as error:
        status = f"{Path(error.cmd[1]).name} failed with status {error.returncode}"
        print(f"reproduce: {status}; see above, then start again", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
