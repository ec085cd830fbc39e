#!/usr/bin/env python3
"""Give broken input to the program, in large numbers.

    python tools/fuzz.py formats --count 10000
    python tools/fuzz.py formats --first 1234 --count 1     # one case again

A case is a good input with something changed: bytes, or a value in it. It ends well where the
program gives a result or a sentence that names the file; a traceback, a hang, or boxes that are
lost without a word are failures, which are printed. Exit status: 0 no failure, 1 failures.
"""

import argparse
import sys
from collections.abc import Callable

from bccd.experiments.fuzzing.annotation_files import AnnotationFiles
from bccd.experiments.fuzzing.run import Target, run_cases

TARGETS: dict[str, Callable[[], Target]] = {"formats": AnnotationFiles}


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", choices=TARGETS, help="kind of input")
    parser.add_argument("--count", type=int, default=1000, help="cases; default %(default)s")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--seconds", type=float, default=20, help="that a case may take; default %(default)s"
    )
    args = parser.parse_args(argv)
    summary = run_cases(
        TARGETS[args.target],
        args.count,
        seed=args.seed,
        first=args.first,
        seconds=args.seconds,
    )
    for number, text in summary.failures:
        print(f"case {number}:\n{text}")
    for outcome, number in sorted(summary.outcomes.items()):
        print(f"{number:7} {outcome}")
    failed = summary.outcomes["failed"]
    print(f"{args.count} cases, {failed} failures")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
