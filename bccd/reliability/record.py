"""The results of a tool that runs in parts, in one JSON file: what is newer replaces its part."""

import json
from pathlib import Path

from bccd.atomic_files import write_atomically


def record(path: Path, part: str, content: dict) -> None:
    """Put ``content`` under the key ``part`` of a JSON file; its other parts stay."""
    parts = json.loads(path.read_text()) if path.is_file() else {}
    parts[part] = content
    text = json.dumps(dict(sorted(parts.items())), indent=2) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda file: file.write(text.encode()))
