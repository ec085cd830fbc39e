#!/usr/bin/env python3
"""Build the tables of results from the files that ``train_net.py --eval-only`` wrote.

    python tools/compare.py                    # print the table of results/*/
    python tools/compare.py --page docs/results.md  # write it between that page's two markers
    python tools/compare.py --per-class             # AP of each class instead
    python tools/compare.py results/second_annotation/* --page docs/results.md \\
        --marker "results on the second annotation"

``bccd.experiments.comparison`` tells what is read.
"""

import argparse
import sys
from pathlib import Path

from bccd.console import script
from bccd.experiments.checkout import ROOT
from bccd.experiments.comparison import per_class_table, results_table
from bccd.markdown import replace_table


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", help="default: results/*/")
    parser.add_argument("--page", type=Path, help="write the table into this file")
    parser.add_argument("--marker", metavar="NAME", help="of its markers; default: the table's")
    parser.add_argument("--per-class", action="store_true", help="AP of each class")
    args = parser.parse_args(argv)
    folders = args.folders or sorted(f.parent for f in ROOT.glob("results/*/evaluation.json"))
    name, build = "results", results_table
    if args.per_class:
        name, build = "results per class", per_class_table
    table = build(folders)
    if args.page:
        table_name = args.marker or name
        args.page.write_text(replace_table(args.page.read_text(), table, table_name))
    print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
