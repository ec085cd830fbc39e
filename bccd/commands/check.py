"""Check a data set: every problem by file and line, and what it holds.

DATA is a folder of images with annotations, in the layout of any annotation program, a file that
describes one, or a zip or tar archive of either. The formats are those of "bccd convert".
coco:FILE.json:IMAGES, voc:FOLDER, cvat:annotations.xml and so on say which is meant, with #train
behind them for a part.
"""

import argparse
from pathlib import Path

from bccd.console import DONE, INCOMPLETE, refusing, show

SUMMARY = "check a data set of your own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("data", metavar="DATA", help="folder, archive, or FORMAT:PATH")
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="report boxes of any other class as errors"
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Check; returns the exit status: INCOMPLETE where a training would stop."""
    with refusing():
        from bccd.data.checks.report import format_report, make_report, write_report
        from bccd.data.sources.opening import open_dataset

        with open_dataset(args.data) as dataset:
            report = make_report(dataset, args.classes)
        if args.report:
            write_report(report, args.report)
    show(args, report, format_report(report))
    return DONE if report["usable"] else INCOMPLETE
