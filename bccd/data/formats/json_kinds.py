"""Which format a JSON file is of, told by the keys in it."""

import functools
import json
from pathlib import Path

COCO, FIFTYONE, LABELME, LABEL_STUDIO = "coco", "fiftyone", "labelme", "labelstudio"
QUPATH, VIA = "qupath", "via"

_SUFFIXES = (".json", ".geojson")


def kind_of(path: Path) -> str | None:
    """A key of ``FORMATS`` for a JSON file; None where it is of no format, or is no JSON file.

    A file that is broken is told, too, as long as its keys are there: its reader says what is
    wrong.
    """
    if path.suffix.lower() not in _SUFFIXES:
        return None
    stat = path.stat()
    return _kind(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=4096)
def _kind(path, modified, size):
    """The kind of a file as it was at a time, so that each reader need not open it anew."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if path.name == "samples.json" and '"samples"' in text:
        return FIFTYONE
    if path.suffix.lower() == ".geojson":
        return QUPATH
    if _has(text, "images", "annotations", "categories"):
        return COCO
    if _has(text, "_via_img_metadata") or _has(text, "filename", "regions"):
        return VIA
    if _has(text, "shapes", "imagePath"):
        return LABELME
    if _has(text, "geometry", "properties") or '"FeatureCollection"' in text:
        return QUPATH
    return LABEL_STUDIO if _is_label_studio(text) else None


def _has(text, *keys):
    return all(f'"{key}"' in text for key in keys)


def _is_label_studio(text):
    """Whether tasks are listed: with results, or in the short form that has an image and boxes."""
    if not text.lstrip().startswith("["):
        return False
    if _has(text, "data") and ('"annotations"' in text or '"predictions"' in text):
        return True
    if '"original_width"' in text:
        return True
    try:
        tasks = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return bool(tasks) and all(isinstance(t, dict) and "image" in t for t in tasks)
