"""JSON files of a run that may be killed at any moment."""

import json
from pathlib import Path
from typing import Any

from bccd.atomic_files import write_atomically


def write_json(path: Path, content: Any) -> None:
    """Write ``content``, indented; an older file stays until the new one is complete."""
    text = json.dumps(content, indent=2) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
