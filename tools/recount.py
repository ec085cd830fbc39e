#!/usr/bin/env python3
"""Count the cells of a corrected detections.json into counts.csv again.

    python tools/recount.py corrected.json --output recounted/
    python tools/recount.py from_cvat.json --run counted/detections.json --output recounted/

``corrected.json`` is the file that demo.py wrote, or a COCO file that CVAT, FiftyOne or another
program made of it, with boxes removed, added (a score is not needed) or of another class. With
--run, whatever the program did not keep is taken from the file of the run: images that could not be
counted, notes, the order of images and classes, and images that were not corrected. A note stays
until it is removed from the file. An uncorrected file gives the same counts.csv.
"""

import argparse
import sys
from pathlib import Path

from bccd.counting.detection_files import CSV_NAME
from bccd.counting.recount import write_recount


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status: 0, or 2 where a file cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corrected", type=Path, metavar="FILE", help="a COCO file")
    parser.add_argument("--run", type=Path, metavar="FILE", help="detections.json of demo.py")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    args = parser.parse_args(argv)
    path = args.output / CSV_NAME
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        table = write_recount(path, args.corrected, args.run)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    counts = ", ".join(f"{name} {number}" for name, number in table.totals.items())
    print(f"{counts} in {table.counted} images. Written to {path}")
    if table.noted:
        print(f"{table.noted} counts have notes: do not trust them without a look")
    return 0


if __name__ == "__main__":
    sys.exit(main())
