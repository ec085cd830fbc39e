"""Reader and writer for one COCO JSON file; :mod:`.coco_folder` has the folders of them.

Detectron2's ``load_coco_json`` tells classes by the order of their ids, not by name, needs the
sizes and boxes that some programs leave out, and does not say which entry is wrong.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bccd.data.formats.annotated_image import (
    AnnotatedBox,
    AnnotatedImage,
    from_record,
    to_records,
)
from bccd.data.formats.files import ImageFinder
from bccd.data.formats.json_content import Entry, is_number, load_json, shown
from bccd.data.images.decoding import image_size
from bccd.data.images.image_source import UnreadableImageError

IMAGES = "images_folder"  # in the ``info`` of a file, as seen from the folder of that file

_LONGEST_SIDE = 10**9  # pixels; more is a broken number

_FIELDS = {
    "images": {"id", "file_name"},
    "annotations": {"id", "image_id", "category_id"},
    "categories": {"id", "name"},
}


class CocoContent(NamedTuple):
    """What a COCO JSON file holds.

    Attributes:
        images: AnnotatedImage in the file's order.
        class_names: by the ids of the categories. A category that is another's super-category and
            that no annotation uses, as Roboflow adds one, is no class.
    """

    images: list[AnnotatedImage]
    class_names: list[str]


def load_coco(
    json_file: Path | str, image_root: Path | str, class_names: Sequence[str]
) -> list[dict]:
    """Read a COCO JSON file into Detectron2 records.

    Categories are told by their name, whatever their ids and order. A category of another name is
    passed over as long as no annotation uses it. What a program leaves out or writes as null has a
    default where there is one: ``iscrowd`` 0, the box of the polygons for ``bbox``, the image's own
    size for ``width`` and ``height``. Backslashes in ``file_name`` are path separators. Other
    fields are not read.

    Args:
        json_file: for a Roboflow export ``<part>/_annotations.coco.json``.
        image_root: folder that the file names are relative to; for Roboflow ``<part>``.
        class_names: classes by their ids in the records.

    Returns:
        list[dict] as :func:`.annotated_image.to_records` returns; ``image_id`` is the file's.

    Raises:
        FileNotFoundError: the JSON file or an image is missing.
        ValueError: an entry cannot be used; the message names the file and the entry.
    """
    images = read_coco(json_file, ImageFinder([image_root])).images
    return to_records(images, json_file, class_names)


def read_coco(json_file: Path | str, find_image: Callable[[str], Path]) -> CocoContent:
    """Read a COCO JSON file as it is.

    Args:
        json_file: the file.
        find_image: gives the path of an image by its ``file_name``.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not COCO JSON, or an annotation refers to what is not there.
    """
    json_file = Path(json_file)
    content = _parse_coco(json_file)
    names = _unique(content, "categories", json_file)
    images = _unique(content, "images", json_file)
    boxes = {image_id: [] for image_id in images}
    for annotation in content["annotations"]:
        where = f"{json_file}: annotation {annotation['id']}"
        for key, known in (("image_id", images), ("category_id", names)):
            if not _is_id(annotation[key]) or annotation[key] not in known:
                raise ValueError(
                    f"{where}: {key} {annotation[key]!r} is not listed. Correct or remove it."
                )
        box = AnnotatedBox(
            name=str(names[annotation["category_id"]]["name"]),
            corners=_corners(annotation, where),
            line=None,
            where=where,
            iscrowd=_crowd(annotation, where),
            score=Entry(annotation, where).score("score"),
        )
        boxes[annotation["image_id"]].append(box)
    return CocoContent(
        [_image(image, json_file, find_image, boxes[i]) for i, image in images.items()],
        _class_names(names, {annotation["category_id"] for annotation in content["annotations"]}),
    )


def _class_names(categories, used):
    names = {i: str(category["name"]) for i, category in sorted(categories.items())}
    above = {i: categories[i].get("supercategory") for i in names}
    groups = {group for i, group in above.items() if isinstance(group, str) and group != names[i]}
    kept = [name for i, name in names.items() if i in used or name not in groups]
    return list(dict.fromkeys(kept or names.values()))


def to_coco(
    records: Sequence[dict],
    class_names: Sequence[str],
    image_root: Path | None = None,
) -> dict:
    """COCO ground truth of Detectron2 records.

    Args:
        records: with boxes in any mode.
        class_names: classes by their ids in the records.
        image_root: folder that file names are relative to; None: they are written without folder.

    Returns:
        dict, as :func:`to_coco_json`.
    """
    entries = [(_file_name(record, image_root), record["image_id"]) for record in records]
    images = [from_record(record, class_names) for record in records]
    return _content(zip(entries, images, strict=True), class_names)


def to_coco_json(
    images: Mapping[str, AnnotatedImage], class_names: Sequence[str], supercategory: str = ""
) -> dict:
    """Content of a COCO file.

    Args:
        images: by their file names in it; their ids are different, and each box has one of
            ``class_names``.
        class_names: classes in the order of their ids.
        supercategory: of all classes, and a category of its own with the id 0, as Roboflow has it.

    Returns:
        dict of ``info``, ``images``, ``annotations`` (ids from 1 on; ``bbox`` x, y, width, height;
        ``area``; ``iscrowd``; ``score`` where there is one) and ``categories`` (ids from 1 on).
    """
    names = [(name, image.image_id) for name, image in images.items()]
    return _content(zip(names, images.values(), strict=True), class_names, supercategory)


def _content(images, class_names, supercategory=""):
    """COCO's content of pairs ((file name, id), AnnotatedImage)."""
    ids = {name: number for number, name in enumerate(class_names, start=1)}
    listed, annotations = [], []
    for (file_name, image_id), image in images:
        size = {"width": image.width, "height": image.height}
        listed.append({"id": image_id, "file_name": file_name, **size})
        for box in image.boxes:
            x0, y0, x1, y1 = box.corners
            annotation = {
                "id": len(annotations) + 1,
                "image_id": image_id,
                "category_id": ids[box.name],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": box.iscrowd,
            }
            scored = {} if box.score is None else {"score": box.score}
            annotations.append({**annotation, **scored})
    group = {"supercategory": supercategory} if supercategory else {}
    categories = [{"id": i, "name": name, **group} for name, i in ids.items()]
    if supercategory:
        top = {"id": 0, "name": supercategory, "supercategory": "none"}
        categories.insert(0, top)
    return {
        "info": {"description": "blood cells"},
        "images": listed,
        "annotations": annotations,
        "categories": categories,
    }


def images_folder(json_file: Path) -> Path | None:
    """The folder of the images that a COCO file states, as ``bccd count`` writes it; else None.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is not JSON.
    """
    content = load_json(json_file)
    info = content.get("info") if isinstance(content, dict) else None
    stated = info.get(IMAGES) if isinstance(info, dict) else None
    if not isinstance(stated, str):
        return None
    return Path(os.path.normpath(Path(json_file).parent / stated))


def _file_name(record, image_root):
    path = Path(record["file_name"])
    return path.name if image_root is None else path.relative_to(image_root).as_posix()


def _parse_coco(json_file):
    """The file's content, its three lists and their fields checked to be there."""
    if not json_file.is_file():
        raise FileNotFoundError(f"{json_file} is not there; datasets/README.md shows the layouts.")
    content = load_json(json_file)
    for key, fields in _FIELDS.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError(f"{json_file}: no list {key!r}, so this is not COCO detection JSON.")
        for position, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise ValueError(
                    f"{json_file}: {key}[{position}] is {entry!r}, expected an object."
                )
            missing = sorted(fields - entry.keys())
            if missing:
                raise ValueError(f"{json_file}: {key}[{position}] lacks {', '.join(missing)}.")
    return content


def _unique(content, key, json_file):
    """{id: entry} of one of the lists."""
    entries = {}
    for entry in content[key]:
        if not _is_id(entry["id"]):
            raise ValueError(f"{json_file}: {key} has the id {entry['id']!r}, expected a number.")
        if key == "categories":
            _check_name(entry, json_file)
        if entry["id"] in entries:
            raise ValueError(f"{json_file}: two {key} have the id {entry['id']}. Renumber them.")
        entries[entry["id"]] = entry
    return entries


def _check_name(category, json_file):
    name = category["name"]
    if not isinstance(name, str | int) or not str(name).strip():
        raise ValueError(
            f"{json_file}: category {category['id']} has the name {shown(name)}. Give it one."
        )


def _image(image, json_file, find_image, boxes):
    where, name = f"{json_file}: image {image['id']}", image["file_name"]
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where}: file_name is {name!r}, expected the name of its file.")
    path = find_image(name)
    width, height = _size(image, path, where)
    return AnnotatedImage(path, json_file, image["id"], width, height, tuple(boxes))


def _size(image, path, where):
    """Width and height as stated, or those of the file where both are left out."""
    size = image.get("width"), image.get("height")
    if size == (None, None):
        try:
            return image_size(path)
        except (OSError, UnreadableImageError) as error:
            raise ValueError(
                f"{where}: width and height are missing, and cannot be taken from the image "
                f"({error}). Add either."
            ) from error
    for key, value in zip(("width", "height"), size, strict=True):
        if not _is_id(value) or not 1 <= value <= _LONGEST_SIDE:
            raise ValueError(f"{where}: {key} is {value!r}, expected a whole number of pixels.")
    return size


def _corners(annotation, where):
    """x0, y0, x1, y1 of an annotation's box, or of the box around its polygons if it has none."""
    box, polygons = annotation.get("bbox"), annotation.get("segmentation")
    if box:
        if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
            raise ValueError(
                f"{where}: bbox is {box!r}, expected [x, y, width, height] as numbers."
            )
        x, y, width, height = box
        return x, y, x + width, y + height
    if not polygons:
        raise ValueError(
            f"{where}: bbox is missing, and there is no polygon. Add one, or remove it."
        )
    if not isinstance(polygons, list) or not all(map(_is_polygon, polygons)):
        raise ValueError(
            f"{where}: bbox is missing, and segmentation has no polygons [[x, y, x, y, ...]] to "
            "take it from. Export boxes or polygons."
        )
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
    return (*points.min(axis=0).tolist(), *points.max(axis=0).tolist())


def _crowd(annotation, where):
    crowd = annotation.get("iscrowd")
    if crowd not in (None, 0, 1):
        raise ValueError(f"{where}: iscrowd is {crowd!r}, expected 0 or 1.")
    return int(crowd or 0)


def _is_polygon(value):
    return (
        isinstance(value, list)
        and len(value) >= 6
        and len(value) % 2 == 0
        and all(map(_is_number, value))
    )


def _is_id(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value):
    """Whether it is a number; NaN and infinity are, and are reported as a box's."""
    return is_number(value) or (isinstance(value, float) and not math.isfinite(value))
