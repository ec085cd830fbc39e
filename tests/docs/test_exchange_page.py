"""The page about exchange says what the code does."""

import runpy
from pathlib import Path

from bccd.data.formats.registry import FORMATS
from bccd.data.formats.table import format_table

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests/data/recorded"


def test_the_table_is_that_of_the_registry():
    page = runpy.run_path(str(ROOT / "tools/exchange_page.py"))["PAGE"]
    assert format_table() in page.read_text(), "run python tools/exchange_page.py"


def test_what_is_called_recorded_is_there():
    named = {library for form in FORMATS.values() for library in form.recorded} - {"roifile"}
    assert named == {path.parent.name for path in RECORDED.glob("*/VERSION")}
