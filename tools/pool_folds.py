#!/usr/bin/env python3
"""Keep a cross-validation: the evaluations of all its folds as one file of results/folds.

    python tools/pool_folds.py --from output/ssd_lite_fold* --row ssd_lite --name "SSD lite"

``--from`` are the OUTPUT_DIRs of ``train_net.py --eval-only``. As long as one is not evaluated,
nothing is written. ``tools/reproduce.py ssd_lite_fold1 ...`` trains, evaluates and calls this.
"""

import argparse
import sys
from pathlib import Path

from bccd.console import script
from bccd.experiments.checkout import ROOT
from bccd.experiments.cross_validation import SUFFIX, pool_folds, write_cross_validation
from bccd.experiments.kept_results import DETECTIONS


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--from", dest="folders", type=Path, nargs="+", required=True, metavar="DIR"
    )
    parser.add_argument("--row", required=True, help="name of the file in results/folds")
    parser.add_argument("--name", required=True, help="name in the tables")
    parser.add_argument("--note", default="", help="in brackets behind the name")
    parser.add_argument("--results", type=Path, default=ROOT / "results", metavar="DIR")
    args = parser.parse_args(argv)
    name = f"{args.name} ({args.note})" if args.note else args.name
    if missing := [f for f in args.folders if not (f / "inference" / DETECTIONS).is_file()]:
        print(f"{name}: not evaluated yet: {', '.join(map(str, missing))}")
        return 0
    file = args.results / "folds" / f"{args.row}{SUFFIX}"
    write_cross_validation(pool_folds(args.folders, name), file)
    print(f"{file}: {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
