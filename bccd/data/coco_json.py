"""Reader and writer for COCO JSON, the Roboflow export's included."""

import json
from pathlib import Path

from detectron2.structures import BoxMode

from bccd.data.boxes import BoxCleaner
from bccd.data.classes import CLASS_NAMES, class_id


def load_coco(json_file, image_root):
    """Read a COCO JSON file into Detectron2 records.

    Categories are told by their name, whatever their ids and order. A category of another name is
    passed over as long as no annotation uses it: Roboflow adds one for the super-category.

    Args:
        json_file: for a Roboflow export ``<part>/_annotations.coco.json``.
        image_root: folder that the file names are relative to; for Roboflow ``<part>``.

    Returns:
        list[dict] as :func:`bccd.data.voc.load_voc` returns; ``image_id`` is the file's own id.

    Raises:
        FileNotFoundError: the JSON file or an image is missing.
        ValueError: an entry cannot be used; the message names the file and the entry.
    """
    json_file, image_root = Path(json_file), Path(image_root)
    content = read_coco(json_file)
    classes = {category["id"]: class_id(category["name"]) for category in content["categories"]}
    records = {}
    for image in content["images"]:
        record = _image_record(image, json_file, image_root)
        if record["image_id"] in records:
            raise ValueError(
                f"{json_file}: two images have the id {image['id']}. Number them anew."
            )
        records[record["image_id"]] = record
    clean = BoxCleaner()
    for annotation in content["annotations"]:
        where = f"{json_file}: annotation {annotation['id']}"
        record = records.get(annotation["image_id"])
        if record is None:
            raise ValueError(
                f"{where} is for image {annotation['image_id']}, which is not listed. Remove it."
            )
        category = classes.get(annotation["category_id"])
        if category is None:
            raise ValueError(_unknown_class(where, annotation, content["categories"]))
        box = clean(corners(annotation, where), record["width"], record["height"], where)
        if box is not None:
            record["annotations"].append(
                {
                    "bbox": box,
                    "bbox_mode": BoxMode.XYXY_ABS,
                    "category_id": category,
                    "iscrowd": int(annotation.get("iscrowd", 0)),
                }
            )
    clean.summarize(json_file)
    return list(records.values())


def read_coco(json_file):
    """Content of a COCO JSON file with its three lists checked to be there.

    Raises:
        FileNotFoundError: the file is missing.
        ValueError: it is not COCO JSON.
    """
    json_file = Path(json_file)
    if not json_file.is_file():
        raise FileNotFoundError(
            f"{json_file} is not there. See datasets/README.md for the layouts."
        )
    try:
        content = json.loads(json_file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{json_file}: not JSON ({error}).") from None
    required = {
        "images": {"id", "file_name", "width", "height"},
        "annotations": {"id", "image_id", "category_id", "bbox"},
        "categories": {"id", "name"},
    }
    for key, fields in required.items():
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f"{json_file}: no list {key!r}; this is not COCO detection JSON.")
        for position, entry in enumerate(content[key]):
            missing = sorted(fields - entry.keys())
            if missing:
                raise ValueError(f"{json_file}: {key}[{position}] lacks {', '.join(missing)}.")
    return content


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


def corners(annotation, where):
    """The box of a COCO annotation as x0, y0, x1, y1.

    Raises:
        ValueError: ``bbox`` is not four numbers.
    """
    box = annotation["bbox"]
    if not (isinstance(box, list) and len(box) == 4 and all(_is_number(value) for value in box)):
        raise ValueError(f"{where}: bbox is {box!r}, expected [x, y, width, height].")
    x, y, width, height = box
    return x, y, x + width, y + height


def _image_record(image, json_file, image_root):
    where = f"{json_file}: image {image['id']!r}"
    for key in ("id", "width", "height"):
        if not isinstance(image[key], int) or (key != "id" and image[key] <= 0):
            raise ValueError(f"{where}: {key} is {image[key]!r}, expected a whole number.")
    path = image_root / image["file_name"]
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, which {where} names. Add it or remove the entry."
        )
    return {
        "file_name": str(path),
        "image_id": image["id"],
        "height": image["height"],
        "width": image["width"],
        "annotations": [],
    }


def _unknown_class(where, annotation, categories):
    names = {category["id"]: category["name"] for category in categories}
    name = names.get(annotation["category_id"], "not listed")
    return (
        f"{where}: category {annotation['category_id']} ({name}) is none of "
        f"{', '.join(CLASS_NAMES)}. Rename the category or remove the annotation."
    )


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)
