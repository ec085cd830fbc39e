#!/usr/bin/env python3
"""Keep an evaluation as a row of results: copy what the tables are built from to results/<row>/.

    python tools/keep_results.py --from output/ssd_lite --row ssd_lite --name "SSD lite"

``--from`` is the OUTPUT_DIR of ``train_net.py --eval-only``. results/README.md tells what a row
holds; ``tools/compare.py`` builds the tables.
"""

import argparse
import sys
from pathlib import Path

from bccd.console import script
from bccd.experiments.checkout import ROOT
from bccd.experiments.kept_results import keep_results


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--from", dest="output_dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--row", required=True, help="folder below results/")
    parser.add_argument("--name", required=True, help="name in the tables")
    parser.add_argument("--note", default="", help="in brackets behind the name, e.g. 8 views")
    parser.add_argument("--results", type=Path, default=ROOT / "results", metavar="DIR")
    args = parser.parse_args(argv)
    keep_results(args.output_dir, args.results / args.row, args.name, args.note)
    print(f"{args.results / args.row}: {args.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
