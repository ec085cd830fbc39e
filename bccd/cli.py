"""The ``bccd`` command."""

import argparse
import sys
from collections.abc import Callable, Sequence

from bccd.counting import arguments

INTERRUPTED = 130  # exit status of a program that Ctrl-C ends, in every shell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status. A wrong command line exits with 2."""
    parser = argparse.ArgumentParser(prog="bccd", description="Detect and count blood cells.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    summary = "count cells in images or a video"
    count_parser = commands.add_parser("count", help=summary)
    arguments.add_arguments(count_parser)
    args = parser.parse_args(argv)
    return count(args, count_parser)


def count(
    args: argparse.Namespace,
    parser: argparse.ArgumentParser,
    predictor: Callable | None = None,
) -> int:
    """Count as the flags say; returns the exit status. What is wrong with them exits with 2."""
    from bccd.counting.run import make_output, prepare, run  # --help needs none of it

    try:
        try:
            job = prepare(args, predictor)
            make_output(args.output)
        except (OSError, ValueError, ImportError) as error:
            parser.error(str(error))
        return run(job)
    except KeyboardInterrupt:
        print("Interrupted: to go on, start the same command again", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
