"""Reader and writer for COCO JSON, the Roboflow export's included."""

import json
from pathlib import Path

from bccd.data.annotations import AnnotatedBox, AnnotatedImage, to_records
from bccd.data.classes import CLASS_NAMES

# Where Roboflow, and Kaggle's copies of its exports, keep the annotations of each part.
ROBOFLOW_PARTS = ("train", "valid", "test")
ROBOFLOW_FILE = "_annotations.coco.json"

_FIELDS = {
    "images": {"id", "file_name", "width", "height"},
    "annotations": {"id", "image_id", "category_id", "bbox"},
    "categories": {"id", "name"},
}


def load_coco(json_file, image_root):
    """Read a COCO JSON file into Detectron2 records.

    Categories are told by their name, whatever their ids and order. A category of another name is
    passed over as long as no annotation uses it: Roboflow adds one for the super-category.

    Args:
        json_file: for a Roboflow export ``<part>/_annotations.coco.json``.
        image_root: folder that the file names are relative to; for Roboflow ``<part>``.

    Returns:
        list[dict] as :func:`bccd.data.annotations.to_records` returns; ``image_id`` is the file's.

    Raises:
        FileNotFoundError: the JSON file or an image is missing.
        ValueError: an entry cannot be used; the message names the file and the entry.
    """
    return to_records(read_coco(json_file, image_root), json_file)


def read_coco(json_file, image_root):
    """Read a COCO JSON file as it is.

    Returns:
        list[AnnotatedImage] in the file's order.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not COCO JSON, or an annotation refers to what is not there.
    """
    json_file, image_root = Path(json_file), Path(image_root)
    content = _parse_coco(json_file)
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    boxes = {}
    for image in content["images"]:
        _check_image(image, f"{json_file}: image {image['id']!r}")
        if image["id"] in boxes:
            raise ValueError(f"{json_file}: two images have the id {image['id']}. Renumber them.")
        boxes[image["id"]] = []
    for annotation in content["annotations"]:
        where = f"{json_file}: annotation {annotation['id']}"
        for key, known in (("image_id", boxes), ("category_id", names)):
            if annotation[key] not in known:
                raise ValueError(
                    f"{where}: {key} {annotation[key]} is not listed. Correct or remove it."
                )
        corners, name = _corners(annotation["bbox"], where), names[annotation["category_id"]]
        crowd = int(annotation.get("iscrowd", 0))
        boxes[annotation["image_id"]].append(AnnotatedBox(name, corners, None, where, crowd))
    return [
        AnnotatedImage(
            path=image_root / image["file_name"],
            source=json_file,
            image_id=image["id"],
            width=image["width"],
            height=image["height"],
            boxes=tuple(boxes[image["id"]]),
        )
        for image in content["images"]
    ]


def to_coco(records):
    """COCO ground truth of Detectron2 records.

    Args:
        records: list[dict] with XYXY_ABS boxes and classes 0 to 2.

    Returns:
        dict of ``info``, ``images``, ``annotations`` (ids from 1 on; ``bbox`` x, y, width, height;
        ``area``; ``iscrowd``) and ``categories`` (ids 1 to 3).
    """
    images, annotations = [], []
    for record in records:
        images.append(
            {
                "id": record["image_id"],
                "file_name": Path(record["file_name"]).name,
                "width": record["width"],
                "height": record["height"],
            }
        )
        for annotation in record["annotations"]:
            x0, y0, x1, y1 = (float(value) for value in annotation["bbox"])
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record["image_id"],
                    "category_id": annotation["category_id"] + 1,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "iscrowd": annotation.get("iscrowd", 0),
                }
            )
    return {
        "info": {"description": "blood cells"},
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, start=1)],
    }


def _parse_coco(json_file):
    """The file's content, its three lists and their fields checked to be there."""
    if not json_file.is_file():
        raise FileNotFoundError(f"{json_file} is not there; datasets/README.md shows the layouts.")
    try:
        content = json.loads(json_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{json_file}: not JSON ({error}).") from None
    for key, fields in _FIELDS.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise ValueError(f"{json_file}: no list {key!r}, so this is not COCO detection JSON.")
        for position, entry in enumerate(entries):
            missing = sorted(fields - entry.keys())
            if missing:
                raise ValueError(f"{json_file}: {key}[{position}] lacks {', '.join(missing)}.")
    return content


def _check_image(image, where):
    for key, least in (("id", 0), ("width", 1), ("height", 1)):
        if not isinstance(image[key], int) or image[key] < least:
            raise ValueError(f"{where}: {key} is {image[key]!r}, expected a whole number.")


def _corners(box, where):
    """x0, y0, x1, y1 of a COCO box."""
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        raise ValueError(f"{where}: bbox is {box!r}, expected [x, y, width, height].")
    x, y, width, height = box
    return x, y, x + width, y + height


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)
