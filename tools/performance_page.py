#!/usr/bin/env python3
"""Write the tables of speed in the pages from files that the benchmarks wrote.

    python tools/performance_page.py

A page (README.md and docs/performance.md) names each file: between
``<!-- results/performance/x.json: begin -->`` and ``end`` comes its table, with the command, the
machine and the date of the measurement. tools/measure_performance.sh makes all the files.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from bccd.benchmark.table import (
    archive_table,
    busy_table,
    ceiling_line,
    comparisons_table,
    configs_table,
    drawing_table,
    exports_table,
    split_table,
    startup_table,
    streaming_table,
    trade_off_table,
)
from bccd.console import script
from bccd.evaluation.machine import machine_in_words
from bccd.markdown import replace_table

ROOT = Path(__file__).resolve().parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs" / "performance.md")


def _benchmark(results):
    return "\n\n".join([configs_table(results), *map(split_table, results)])


# What a file holds its figures under, and what makes a table of them.
TABLES = {
    "results": _benchmark,
    "comparisons": comparisons_table,
    "variants": trade_off_table,
    "files": exports_table,
    "runs": streaming_table,
    "archive": archive_table,
    "pictures": drawing_table,
    "starts": startup_table,
    "busy": busy_table,
}


def describe(report: dict) -> str:
    """The table of a benchmark's file, and how it was measured."""
    key = next(key for key in TABLES if key in report)
    machine = report["machine"]
    notes = [ceiling_line(report["ceiling"]) + ". "] if "ceiling" in report else []
    notes.append(
        f"{machine_in_words(machine)}, {machine['load_before']} cores busy before, "
        f"{report['date']}: `{report['command']}`"
    )
    return f"{TABLES[key](report[key])}\n\n{''.join(notes)}"


def fill(page: str) -> str:
    """``page`` with the table of every file that its markers name.

    Raises:
        OSError: a file is not there.
        ValueError: it is no benchmark's, or a marker has no end.
    """
    for name in re.findall(r"<!-- (\S+\.json): begin -->", page):
        try:
            table = describe(json.loads((ROOT / name).read_text()))
        except (StopIteration, KeyError, json.JSONDecodeError) as error:
            raise ValueError(f"{name} is not a file of the benchmarks: {error!r}") from error
        page = replace_table(page, table, name)
    return page


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", type=Path, nargs="*", default=PAGES)
    args = parser.parse_args(argv)
    for page in args.pages:
        page.write_text(fill(page.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
