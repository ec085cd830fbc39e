"""Write a data set in the format of another program: images, boxes, classes, scores and parts.

Examples:
    bccd convert counted/detections.json labelstudio:to_correct/
    bccd convert from_cvat.zip coco:corrected/

FROM is named as for bccd check, which must find no error in it; "bccd count" writes
detections.json. TO is FORMAT:FOLDER, a new folder. Boxes without area are left out, boxes past the
border are clipped, and what a format cannot hold is said in a sentence; docs/exchange.md has a
table of the formats.
"""

import argparse
from pathlib import Path

from bccd.console import DONE, CommandError, refusing, show
from bccd.suggestions import did_you_mean

SUMMARY = "write a data set for another program: CVAT, Label Studio, QuPath, ImageJ, ..."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("source", metavar="FROM", help="folder, file, archive, or FORMAT:PATH")
    parser.add_argument("target", metavar="TO", help="FORMAT:FOLDER")


def run(args: argparse.Namespace) -> int:
    """Convert; returns the exit status."""
    with refusing():
        from bccd.data.checks.report import format_report, make_report
        from bccd.data.formats.conversion import convert
        from bccd.data.sources.opening import open_dataset

        form, folder = _target(args.target)
        with open_dataset(args.source) as dataset:
            report = make_report(dataset)
            if not report["usable"]:
                raise CommandError(format_report(report))
            losses = convert(dataset, form, folder)
            simplified = [message for _, message in dataset.simplified]
    written = {"format": form, "folder": str(folder), "images": report["images"]}
    lines = [f"{report['images']} images written as {form} to {folder}", *simplified, *losses]
    document = {**written, "classes": report["classes"], "left_out": [*simplified, *losses]}
    show(args, document, "\n".join(lines))
    return DONE


def _target(name: str) -> tuple[str, Path]:
    """Format and folder of what is written."""
    from bccd.data.formats.registry import FORMATS

    form, colon, folder = name.partition(":")
    if form not in FORMATS or not folder:
        hint = did_you_mean(form, FORMATS) if colon else ""
        raise CommandError(
            f"TO is {name}; expected FORMAT:FOLDER.{hint} Formats: {', '.join(FORMATS)}"
        )
    return form, Path(folder)
