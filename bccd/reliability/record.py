"""The results of a tool that runs in parts, in one JSON file: what is newer replaces its part."""

import json
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from bccd.experiments.json_files import write_json
from bccd.markdown import replace_table


def record(path: Path, part: str, content: dict) -> None:
    """Put ``content`` under the key ``part`` of a JSON file; its other parts stay."""
    parts = json.loads(path.read_text()) if path.is_file() else {}
    parts[part] = content
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dict(sorted(parts.items())))


def fuzz_table(parts: Mapping[str, dict]) -> str:
    """Markdown of what ``tools/fuzz.py`` recorded, a row for each kind of input."""
    rows = [
        [name, part["cases"], part["failed"], part["longest_case_seconds"]]
        for name, part in parts.items()
    ]
    return tabulate(rows, ["input", "cases", "failures", "longest case, s"], tablefmt="pipe")


def kills_table(parts: Mapping[str, dict]) -> str:
    """Markdown of what ``tools/kill_test.py`` recorded, a row for each work."""
    rows = [
        [name, part["kills"], part["works"], len(part["different"])] for name, part in parts.items()
    ]
    header = ["work", "kills", "works that were killed and ended", "of another result"]
    return tabulate(rows, header, tablefmt="pipe")


def renew_page(page: Path, table: str, name: str) -> None:
    """Put a table between the markers ``name`` of a page."""
    page.write_text(replace_table(page.read_text(encoding="utf-8"), table, name), encoding="utf-8")
