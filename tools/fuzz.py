#!/usr/bin/env python3
"""Give broken input to the program, in large numbers: results/fuzz.json.

    python tools/fuzz.py formats images checkpoints studies requests --count 10000
    python tools/fuzz.py formats --case 1234     # one case again

A case is a good input with something changed: bytes, or a value in it. It ends well where the
program gives a result or a sentence that a person can use; a traceback, a hang, memory without
bound, or what is lost without a word are failures, which are printed. A case depends on its seed
and number alone. Exit status: 0 no failure, 1 failures.
"""

import argparse
import faulthandler
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.evaluation.machine import describe_measurement
from bccd.reliability.annotation_files import AnnotationFiles
from bccd.reliability.checkpoint_files import CheckpointFiles
from bccd.reliability.image_files import ImageFiles
from bccd.reliability.record import fuzz_table, record, renew_page
from bccd.reliability.requests import Requests
from bccd.reliability.run import Summary, Target, run_cases
from bccd.reliability.study_files import StudyFiles

TARGETS: dict[str, Callable[[], Target]] = {
    "formats": AnnotationFiles,
    "images": ImageFiles,
    "checkpoints": CheckpointFiles,
    "studies": StudyFiles,
    "requests": Requests,
}
_GRACE = 60  # seconds after a case's limit in which Python's own alarm must have ended it


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="+", choices=TARGETS, help="kinds of input")
    parser.add_argument("--count", type=int, default=1000, help="cases; default %(default)s")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="the number of one case, which is run alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=20, help="that a case may take; default %(default)s"
    )
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="for each kind, after which it stops"
    )
    parser.add_argument("--output", type=Path, help="JSON file that takes the numbers")
    parser.add_argument("--page", type=Path, help="whose table is renewed from --output")
    args = parser.parse_args(argv)
    if args.case is not None:
        args.first, args.count = args.case, 1
    failed = 0
    for name in args.targets:
        measured, began = describe_measurement(), time.monotonic()
        summary = _run(name, args)
        took = time.monotonic() - began
        print(_in_words(name, summary))
        failed += summary.outcomes["failed"]
        if args.output:
            record(args.output, name, {**measured, **summary.to_json(), "seconds": round(took)})
    if args.output and args.page:
        renew_page(args.page, fuzz_table(json.loads(args.output.read_text())), "broken input")
    return 1 if failed else 0


def _run(name: str, args: argparse.Namespace) -> Summary:
    # What a case prints is kept from the screen; this is not.
    with os.fdopen(os.dup(2), "w") as screen:

        def watch(number):
            # A hang inside of a library's code, which no alarm ends: where it is, and the end.
            faulthandler.dump_traceback_later(args.seconds + _GRACE, exit=True, file=screen)
            if number % 500 == 0 and number > args.first:
                print(f"{name}: case {number}", file=screen, flush=True)

        try:
            return run_cases(
                TARGETS[name],
                args.count,
                seed=args.seed,
                first=args.first,
                seconds=args.seconds,
                minutes=args.minutes,
                progress=watch,
            )
        finally:
            faulthandler.cancel_dump_traceback_later()


def _in_words(name: str, summary: Summary) -> str:
    failures = [f"case {number}:\n{text}" for number, text in summary.failures]
    outcomes = [f"{number:7} {outcome}" for outcome, number in sorted(summary.outcomes.items())]
    cases, failed = sum(summary.outcomes.values()), summary.outcomes["failed"]
    return "\n".join([*failures, *outcomes, f"{name}: {cases} cases, {failed} failures"])


if __name__ == "__main__":
    sys.exit(main())
