#!/usr/bin/env python3
"""Write the table of formats into docs/exchange.md.

python tools/exchange_page.py
"""

import sys
from pathlib import Path

from bccd.data.formats.table import format_table
from bccd.markdown import replace_table

PAGE = Path(__file__).resolve().parents[1] / "docs/exchange.md"


def main() -> int:
    """Run the command; returns its exit status."""
    PAGE.write_text(replace_table(PAGE.read_text(), format_table(), "formats"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
