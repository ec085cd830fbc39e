"""What a run was asked for, which a second start that goes on with it must ask for again."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from bccd.data.formats.annotated_image import AnnotatedImage


def check_same_plan(wanted: Mapping, path: Path) -> None:
    """Compare what is asked for with what a former call was asked for.

    Args:
        wanted: what JSON can hold.
        path: of the JSON file of the former call.

    Raises:
        ValueError: something differs.
    """
    wanted = json.loads(json.dumps(wanted))
    found = json.loads(path.read_text(encoding="utf-8"))
    changed = [key for key in wanted if found.get(key) != wanted[key]]
    if changed:
        differences = ", ".join(f"{key} {found.get(key)}, now {wanted[key]}" for key in changed)
        raise ValueError(
            f"{path.parent} was started with {differences}. Start again with the same data and "
            "options, or name another output folder."
        )


def digest_annotations(images: Mapping[str, AnnotatedImage]) -> str:
    """SHA-256 of what is annotated: names, sizes of files, and boxes."""
    found = [
        (
            name,
            image.path.stat().st_size if image.path.is_file() else None,
            [(box.name, *box.corners) for box in image.boxes],
        )
        for name, image in sorted(images.items())
    ]
    return hashlib.sha256(repr(found).encode()).hexdigest()
