"""Count blood cells in images or a video: pictures, detections.json and counts.csv."""

import argparse

from bccd.console import INCOMPLETE, refusing
from bccd.counting import arguments

SUMMARY = "count cells in images or a video"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    arguments.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Count; returns the exit status."""
    from bccd.counting.run import make_output, prepare
    from bccd.counting.run import run as count

    with refusing():
        job = prepare(args)
        make_output(args.output)
    return INCOMPLETE if count(job) else 0
