#!/usr/bin/env python
"""Get BCCD, check it, and write it in other forms.

    python datasets/prepare_bccd.py                        # download if it is not there, check
    python datasets/prepare_bccd.py --source my_bccd.zip   # the same from a folder or an archive
    python datasets/prepare_bccd.py --check DIR            # check any data set of these classes
    python datasets/prepare_bccd.py --export coco DIR      # write it anew; also yolo, voc, ...

BCCD goes to $DETECTRON2_DATASETS/BCCD (default ./datasets/BCCD), a Roboflow or Kaggle export to
BCCD-Roboflow beside it. What is there already is kept, and checked.

The download is the archive that GitHub makes of one commit. Such archives have no fixed bytes, so
the check is a SHA-256 over the images, XML files and split lists inside, and a limit on the size.

Exit status: 0 the data can be used; 1 the check found what readers stop at; 2 the arguments, or a
file or folder that they name, cannot be used; 3 the data could not be downloaded.
"""

import argparse
import sys
from pathlib import Path

from bccd.console import DONE, INCOMPLETE, REFUSED
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.checks.report import format_report, make_report, write_report
from bccd.data.formats.conversion import convert
from bccd.data.formats.registry import FORMATS, read_dataset
from bccd.data.sources.catalog import dataset_root
from bccd.data.sources.download import (
    CONTENT_SHA256,
    FOLDERS,
    URL,
    DownloadError,
    content_digest,
    fetch_bccd,
    import_tree,
    layout_of,
)
from bccd.data.sources.splits import use_bccd_splits

DOWNLOAD_FAILED = 3


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Command-line arguments, the forms of --export checked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument("--source", type=Path, help="import this folder or archive")
    origin.add_argument("--check", type=Path, metavar="DIR", help="only check this data set")
    origin.add_argument("--url", default=URL, help="download from here instead of GitHub")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report as JSON too")
    parser.add_argument(
        "--export",
        nargs=2,
        action="append",
        default=[],
        metavar=("FORM", "DIR"),
        help=f"write the data as {', '.join(FORMATS)} to a new folder DIR; may be repeated",
    )
    args = parser.parse_args(argv)
    for form, _ in args.export:
        if form not in FORMATS:
            parser.error(f"--export {form}: expected one of {', '.join(FORMATS)}")
    return args


def locate(args: argparse.Namespace) -> Path:
    """Folder of the data set that the arguments ask for; fetched or imported if need be."""
    if args.check:
        return args.check
    if args.source:
        return import_tree(args.source, dataset_root())
    bccd = dataset_root() / FOLDERS["voc"]
    return bccd if bccd.exists() else fetch_bccd(dataset_root(), args.url)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = parse_args(argv)
    try:
        folder = locate(args)
        dataset = use_bccd_splits(read_dataset(folder))
        report = make_report(dataset, CLASS_NAMES)
        print(format_report(report))
        if layout_of(folder) == "voc":
            same = content_digest(folder) == CONTENT_SHA256
            print(f"Its files {'are' if same else 'differ from'} those of the published BCCD.")
        if args.report:
            write_report(report, args.report)
        if not report["usable"]:
            return INCOMPLETE
        for form, target in args.export:
            losses = convert(dataset, form, target, CLASS_NAMES)
            print("\n".join([f"Written as {form} to {target}.", *losses]))
    except (OSError, ValueError) as error:
        print(f"prepare_bccd.py: {error}", file=sys.stderr)
        return DOWNLOAD_FAILED if isinstance(error, DownloadError) else REFUSED
    return DONE


if __name__ == "__main__":
    sys.exit(main())
