"""Counts of cells that a person has corrected, as the table that counting writes."""

import json
import math
from collections import Counter
from pathlib import Path

from bccd.counting.area import CountedArea
from bccd.counting.coco_file import SKIPPED
from bccd.counting.corrected_images import (
    CountedImage,
    check_areas,
    count_cells,
    find_name,
    read_any,
)
from bccd.counting.count_table import CountTable
from bccd.counting.detection_files import JSON_NAME
from bccd.data.formats.coco import read_coco
from bccd.data.formats.registry import format_of
from bccd.data.sources.by_path import parse_name
from bccd.data.sources.opening import ARCHIVES


def write_recount(path: Path, corrected: str | Path, run: Path | None = None) -> CountTable:
    """Count corrected cells into a :class:`CountTable`.

    Args:
        path: of the CSV file to write.
        corrected: ``detections.json`` of a run, edited, or what another program made of it: a COCO
            file, or a data set of another format, see :func:`read_counts`.
        run: the ``detections.json`` of the run. Programs drop what COCO has no place for,
            and images that were not corrected: then the order of the images, those that could not
            be counted, the notes, the scales, the classes and what ``corrected`` does not list
            come from here.

    Returns:
        the table, closed.

    Raises:
        FileNotFoundError, ValueError: a file is missing or cannot be used; ``corrected`` has an
            image that ``run`` has not.
    """
    classes, images = read_counts(corrected)
    if run is not None:
        run_classes, run_images = read_counts(run)
        classes = list(dict.fromkeys([*run_classes, *classes]))
        images = _take_over(images, run_images, corrected, run)
    with CountTable(path, classes) as table:
        for image in images:
            if image.status is None:
                about = image.notes, image.scale, image.area
                table.add(image.name, image.counts, *about, is_slide=image.is_slide)
            else:
                table.skip(image.name, image.status)
    return table


def read_counts(corrected: str | Path) -> tuple[list[str], list[CountedImage]]:
    """Class names in the order of their ids, and a :class:`CountedImage` for each image.

    Args:
        corrected: a COCO file, whose images need not be there; or the folder, file, archive or name
            of a data set in another format.

    Raises:
        FileNotFoundError, ValueError: as ``read_coco`` and ``open_dataset``; ValueError where two
            images share a name or a box has no area.
    """
    if _is_other_format(str(corrected)):
        return read_any(str(corrected))
    _check_is_file(Path(corrected))
    return _read_coco_counts(Path(corrected))


def _is_other_format(name):
    """Whether a name is that of a data set beside a COCO file."""
    path = Path(name)
    if path.is_dir():
        if (path / JSON_NAME).is_file():  # of a run: the file is to be named
            return False
    elif parse_name(name) is not None or path.suffix.lower() in ARCHIVES:
        return True
    try:
        return path.is_dir() or format_of(path) != "coco"
    except (OSError, ValueError):
        return False


def _read_coco_counts(json_file):
    annotated = {image.image_id: image for image in read_coco(json_file, Path).images}
    content = json.loads(Path(json_file).read_text(encoding="utf-8-sig"))
    images = {}
    for entry in [*content["images"], *content.get(SKIPPED, [])]:
        status, counts = entry.get("status"), {}
        notes = [str(note) for note in entry.get("notes") or []]
        if entry["id"] in annotated:
            status, boxes = None, annotated[entry["id"]].boxes
            check_areas(boxes)
            counts, crowds = count_cells(boxes)
            notes += crowds
        about = notes, read_scale(entry), read_area(entry), entry.get("slide") is True
        images[entry["id"]] = CountedImage(entry["file_name"], status, counts, *about)
    names = Counter(image.name for image in images.values())
    if twice := [name for name, number in names.items() if number > 1]:
        raise ValueError(f"{json_file}: two images are called {twice[0]}. Rename one of them.")
    categories = sorted(content["categories"], key=lambda category: category["id"])
    return [str(category["name"]) for category in categories], [images[i] for i in sorted(images)]


def _check_is_file(path):
    """Raise FileNotFoundError where there is no file to count, saying which to name."""
    wanted = "detections.json of bccd count, or the COCO file that another program made of it"
    if path.is_dir():
        inside = path / JSON_NAME
        hint = f": name {inside}" if inside.is_file() else f" without a {JSON_NAME}: name {wanted}"
        raise FileNotFoundError(f"{path} is a folder{hint}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: name {wanted}")


def read_scale(entry: dict) -> tuple[float, str] | None:
    """What the entry of an image in a COCO file says of its scale, see ``Scale``."""
    diameter, source = entry.get("red_cell_diameter"), entry.get("scale")
    if not isinstance(diameter, int | float) or not isinstance(source, str):
        return None
    return float(diameter), source


def read_area(entry: dict) -> CountedArea | None:
    """What the entry of an image in a COCO file says of the area in which cells were counted."""
    whole = entry.get("width"), entry.get("height")
    whole = math.prod(whole) if all(isinstance(side, int) for side in whole) else None
    pixels, size = entry.get("counted_area", whole), entry.get("micrometres_per_pixel")
    if not isinstance(pixels, int):
        return None
    return CountedArea(pixels, float(size) if isinstance(size, int | float) else None)


def _take_over(images, run_images, corrected, run):
    """The images of a run, with the counts of those that are in ``images``."""
    by_name, known = {}, [image.name for image in run_images]
    for image in images:
        if image.status is None:
            name = find_name(image.name, known)
            if name is None:
                raise ValueError(
                    f"{corrected}: {image.name} is not an image of {run}. Images must be called as "
                    "there, but for folders in front; give the file of the run that was corrected."
                )
            if name in by_name:
                raise ValueError(
                    f"{corrected}: {image.name} and {by_name[name].name} are both {name} of {run}. "
                    "Remove one of them."
                )
            by_name[name] = image
    merged = []
    for image in run_images:
        corrected_image = by_name.get(image.name, image)._replace(name=image.name)
        notes = dict.fromkeys([*image.notes, *corrected_image.notes])
        scale, area = corrected_image.scale or image.scale, corrected_image.area or image.area
        changes = {"notes": list(notes), "scale": scale, "area": area, "is_slide": image.is_slide}
        merged.append(corrected_image._replace(**changes))
    return merged
