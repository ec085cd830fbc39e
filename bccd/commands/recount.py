"""Count the cells of a corrected detections.json into counts.csv again.

Examples:
    bccd recount corrected.json -o recounted/
    bccd recount from_qupath/ --run counted/detections.json -o recounted/

CORRECTED is what "bccd count" wrote, or what CVAT, Label Studio, QuPath, ImageJ or another program
made of it, in any format of "bccd convert": a COCO file, or a folder, file or archive as bccd check
takes it. Boxes are removed, added (a score is not needed) or of another class. With --run, whatever
the program did not keep is taken from the file of the run: images that could not be counted, notes,
the order of images and classes, and images that were not corrected. A note stays until it is
removed from the file. An uncorrected file gives the same counts.csv but for the 95% intervals: they
are of the detector's errors, and a person has looked. Those of summary.csv are of the spread
between fields alone.
"""

import argparse
import dataclasses
from pathlib import Path

from bccd.console import DONE, refusing, show

SUMMARY = "count a corrected detections.json again"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "corrected", metavar="CORRECTED", help="a COCO file, folder, archive, or FORMAT:PATH"
    )
    parser.add_argument("--run", type=Path, metavar="FILE", help="detections.json of bccd count")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--overwrite", action="store_true", help="replace an older counts.csv")


def run(args: argparse.Namespace) -> int:
    """Count again; returns the exit status."""
    from bccd.counting.detection_files import CSV_NAME
    from bccd.counting.recount import write_recount
    from bccd.counting.summary import CSV_NAME as SUMMARY_NAME
    from bccd.counting.summary import in_words, summarise, write_summary

    path = args.output / CSV_NAME
    with refusing():
        if path.exists() and not args.overwrite:
            raise FileExistsError(
                f"{path} is there already: name another folder, or replace it with --overwrite"
            )
        args.output.mkdir(parents=True, exist_ok=True)
        table = write_recount(path, args.corrected, args.run)
        summary = summarise(table.tally) + summarise(table.slides) if table.counted > 1 else []
        if summary:
            write_summary(args.output / SUMMARY_NAME, summary)
    document = {
        "table": str(path),
        "counts": table.totals,
        "summary": [dataclasses.asdict(quantity) for quantity in summary],
        "counted": table.counted,
        "with_notes": table.noted,
        "not_counted": table.images - table.counted,
    }
    counts = ", ".join(f"{name} {number}" for name, number in table.totals.items())
    lines = [f"{counts} in {table.counted} images. Written to {path}", *map(in_words, summary)]
    text = "\n".join(lines)
    if table.noted:
        share = f"{table.noted} of {table.counted}"
        text += f"\n{share} counts should not be trusted: the notes in the table say why"
    show(args, document, text)
    return DONE
