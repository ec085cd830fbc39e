"""Write a data set in another format: images, annotations and lists of its parts.

DATA is named as for bccd check, which must find no error in it. Boxes without area are left out,
boxes past the border are clipped.
"""

import argparse
from pathlib import Path

from bccd.console import DONE, CommandError, refusing, show

SUMMARY = "write a data set as COCO, Pascal VOC or YOLO"
FORMATS = ("coco", "voc", "yolo")  # of bccd.data.formats.registry, which needs Detectron2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("data", metavar="DATA", help="folder, archive, or FORMAT:PATH")
    parser.add_argument("--to", required=True, choices=FORMATS, help="format to write")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FOLDER", help="folder that is made"
    )


def run(args: argparse.Namespace) -> int:
    """Convert; returns the exit status."""
    with refusing():
        from bccd.data.checks.report import format_report, make_report
        from bccd.data.formats.conversion import convert
        from bccd.data.sources.opening import open_dataset

        with open_dataset(args.data) as dataset:
            report = make_report(dataset)
            if not report["usable"]:
                raise CommandError(format_report(report))
            convert(dataset, args.to, args.output)
    written = {"format": args.to, "folder": str(args.output), "images": report["images"]}
    text = f"{report['images']} images written as {args.to} to {args.output}"
    show(args, {**written, "classes": report["classes"]}, text)
    return DONE
