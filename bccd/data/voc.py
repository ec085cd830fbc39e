"""Reader for Pascal VOC trees: ``Annotations/*.xml`` beside ``JPEGImages/``."""

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from detectron2.structures import BoxMode

from bccd.data.boxes import BoxCleaner
from bccd.data.classes import CLASS_NAMES, class_id

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")


@dataclass(frozen=True)
class VocObject:
    """One ``<object>`` as written: class name, (xmin, ymin, xmax, ymax), and its box's line."""

    name: str
    box: tuple[float, float, float, float]
    line: int


@dataclass(frozen=True)
class VocAnnotation:
    """One XML file as written, nothing corrected."""

    path: Path
    width: int
    height: int
    objects: tuple[VocObject, ...]


def load_voc(root, image_ids=None):
    """Read a VOC tree into Detectron2 records.

    Corner coordinates are taken as they are (no shift by one), sizes from the XML: no image is
    opened. ``difficult`` and ``truncated`` are not used (BCCD sets neither).

    Args:
        root: folder with ``Annotations`` and ``JPEGImages``.
        image_ids: file stems to read, in this order; all of the tree, sorted, if None.

    Returns:
        list[dict]: ``file_name``, ``image_id`` (the number at the end of the stem), ``height``,
        ``width`` and ``annotations`` with XYXY_ABS boxes and classes 0 to 2.

    Raises:
        FileNotFoundError: the tree, an image or an XML file is missing.
        ValueError: an XML file, a class or a box cannot be used; the message names file and line.
    """
    root = Path(root)
    images, annotations = list_tree(root)
    if image_ids is None:
        image_ids = sorted(images.keys() | annotations.keys())
    numbers = image_numbers(image_ids)
    clean = BoxCleaner()
    records = []
    for stem in image_ids:
        if stem not in annotations:
            raise FileNotFoundError(f"{root / 'Annotations' / stem}.xml is missing. {_REMEDY}")
        if stem not in images:
            raise FileNotFoundError(f"{root / 'JPEGImages' / stem}.jpg is missing. {_REMEDY}")
        annotation = parse_annotation(annotations[stem])
        records.append(_record(annotation, images[stem], numbers[stem], clean))
    clean.summarize(root)
    return records


_REMEDY = "`python datasets/prepare_bccd.py` fetches, or with --check reports on, the data set."


def list_tree(root):
    """Files of a VOC tree by stem.

    Returns:
        (dict stem -> image Path, dict stem -> XML Path)

    Raises:
        FileNotFoundError: ``root`` is not a VOC tree.
    """
    root = Path(root)
    for folder in (root / "Annotations", root / "JPEGImages"):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is not there: {root} is no Pascal VOC tree. Get BCCD with "
                "`python datasets/prepare_bccd.py`, or set DETECTRON2_DATASETS to the folder "
                "that holds BCCD/."
            )
    images = {
        path.stem: path
        for path in sorted((root / "JPEGImages").iterdir())
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    annotations = {path.stem: path for path in sorted((root / "Annotations").glob("*.xml"))}
    return images, annotations


def image_numbers(stems):
    """Integer image id per stem: the number at its end (37 for BloodImage_00037).

    Where a stem ends in no number, or two in the same, all are numbered from 1 in their order.
    """
    found = {stem: re.search(r"\d+$", stem) for stem in stems}
    if all(found.values()):
        numbers = {stem: int(match.group()) for stem, match in found.items()}
        if len(set(numbers.values())) == len(numbers):
            return numbers
    return {stem: position for position, stem in enumerate(found, start=1)}


def parse_annotation(path):
    """Read one VOC XML file as it is.

    Returns:
        VocAnnotation

    Raises:
        ValueError: the file is not VOC XML; the message names file and line.
    """
    tree = _parse_xml(path)
    return VocAnnotation(
        path=Path(path),
        width=_number(tree, "size/width", path, positive=True),
        height=_number(tree, "size/height", path, positive=True),
        objects=tuple(_object(element, path) for element in tree.iter("object")),
    )


def _record(annotation, image, number, clean):
    boxes = []
    for item in annotation.objects:
        where = f"{annotation.path}:{item.line}"
        category = class_id(item.name)
        if category is None:
            raise ValueError(
                f"{where}: unknown class {item.name!r} (expected one of {', '.join(CLASS_NAMES)}). "
                "Rename or remove this object."
            )
        box = clean(item.box, annotation.width, annotation.height, where)
        if box is not None:
            boxes.append(
                {
                    "bbox": box,
                    "bbox_mode": BoxMode.XYXY_ABS,
                    "category_id": category,
                    "iscrowd": 0,
                }
            )
    return {
        "file_name": str(image),
        "image_id": number,
        "height": annotation.height,
        "width": annotation.width,
        "annotations": boxes,
    }


def _object(element, path):
    corners = ("xmin", "ymin", "xmax", "ymax")
    return VocObject(
        name=_text(element, "name", path),
        box=tuple(_number(element, f"bndbox/{corner}", path) for corner in corners),
        line=int(element.find("bndbox").get("line")),
    )


def _text(element, tag, path):
    child = element.find(tag)
    if child is None or not (child.text or "").strip():
        line = (element if child is None else child).get("line")
        raise ValueError(
            f"{path}:{line}: <{tag}> is missing or empty. Write it, or remove the file."
        )
    return child.text.strip()


def _number(element, tag, path, positive=False):
    text = _text(element, tag, path)
    line = element.find(tag).get("line")
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{path}:{line}: <{tag}> is {text!r}, expected a number.") from None
    if not positive:
        return value
    if not (value > 0 and value.is_integer()):
        raise ValueError(f"{path}:{line}: <{tag}> is {text}, expected the image's size in pixels.")
    return int(value)


def _parse_xml(path):
    """Root element of an XML file in which every element has its line as attribute ``line``."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def start(tag, attributes):
        builder.start(tag, attributes).set("line", str(parser.CurrentLineNumber))

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(Path(path).read_bytes(), True)
    except expat.ExpatError as error:
        raise ValueError(f"{path}:{error.lineno}: not well-formed XML ({error}).") from None
    return builder.close()
