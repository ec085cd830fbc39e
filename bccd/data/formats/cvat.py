"""CVAT for images 1.1: one XML file, ``annotations.xml``, of all images and their labels.

Datumaro reads it, too; it needs pandas, pyarrow and older releases of OpenCV and NumPy, and names
no line of what is wrong.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from bccd.data.classes import class_colors
from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.listing import Listing
from bccd.data.formats.shapes import Corners, around, ellipse, turned_rectangle
from bccd.data.formats.writing import Writing
from bccd.data.formats.xml_content import LINE, parse_xml, root_tag

_SCORE = "score"  # the attribute of a box
_SHAPES = ("box", "polygon", "ellipse", "mask")
_WITHOUT_BOX = ("points", "polyline", "cuboid", "skeleton")


def is_cvat(root: Path, below: Sequence[Path]) -> bool:
    """Whether an XML file of CVAT is among the files ``below`` a folder."""
    return any(map(describes, below))


def describes(path: Path) -> bool:
    """Whether a file is CVAT's."""
    return path.suffix.lower() == ".xml" and root_tag(path) == "annotations"


def read_cvat(root: Path, file: Path | None = None) -> AnnotatedDataset:
    """List CVAT's XML files below a folder, or one of them."""
    found = [file] if file else [p for p in files.list_files(root) if describes(p)]
    listing, labels = Listing(root, "cvat", found), []
    for path in found:
        try:
            tree = parse_xml(path)
            _refuse_video(tree, path)
            labels += [(name.text or "").strip() for name in tree.iterfind("meta//label/name")]
            find, outlines = listing.finder(path), 0
            for element in tree.iterfind("image"):
                image, drawn = _image(element, path, find)
                outlines += drawn
                listing.add(image, element.get("subset"))
            listing.simplify(path, outlines)
        except ValueError as error:
            listing.refuse(path, error)
    return listing.finish(filter(None, labels), every_picture=file is None)


def _refuse_video(tree, path):
    if tree.tag != "annotations":
        raise ValueError(f"{path}:1: its root is <{tree.tag}>, expected <annotations>.")
    if (track := tree.find("track")) is not None:
        raise ValueError(
            f"{path}:{track.get(LINE)}: <track> is of CVAT for video. Export the task as CVAT for "
            "images 1.1."
        )


def _image(element, path, find):
    """An AnnotatedImage, and how many of its boxes were drawn as another shape."""
    where = f"{path}:{element.get(LINE)}"
    name = _text(element, "name", where)
    width, height = (_side(element, key, where) for key in ("width", "height"))
    boxes, outlines = [], 0
    for shape in element:
        line = int(shape.get(LINE))
        where = f"{path}:{line}"
        if shape.tag in _WITHOUT_BOX:
            raise ValueError(
                f"{where}: <{shape.tag}> of {name} has no box. Draw a rectangle instead, or "
                "remove it."
            )
        if shape.tag == "tag":  # of the whole image
            continue
        if shape.tag not in _SHAPES:
            raise ValueError(f"{where}: <{shape.tag}> is no shape of CVAT. Export the task anew.")
        label, score = _text(shape, "label", where), _score(shape, where)
        box = AnnotatedBox(label, _corners(shape, where), line, where, score=score)
        boxes.append(box)
        outlines += shape.tag != "box" or _number(shape, "rotation", where, 0) % 360 != 0
    image = AnnotatedImage(find(name), path, 0, width, height, tuple(boxes))
    return image, outlines


def _corners(shape, where) -> Corners:
    if shape.tag == "box":
        corners = tuple(_number(shape, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
        return turned_rectangle(corners, _number(shape, "rotation", where, 0))
    if shape.tag == "ellipse":
        values = (_number(shape, key, where) for key in ("cx", "cy", "rx", "ry"))
        return ellipse(*values, _number(shape, "rotation", where, 0))
    if shape.tag == "mask":
        keys = ("left", "top", "width", "height")
        left, top, width, height = (_number(shape, key, where) for key in keys)
        return left, top, left + width, top + height
    points = _text(shape, "points", where)
    try:
        pairs = [tuple(map(_finite, pair.split(","))) for pair in points.split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{where}: points is {points[:60]!r}, expected x,y;x,y;... Export the task anew."
        ) from None
    return around(pairs)


def _score(shape, where):
    for attribute in shape.iterfind("attribute"):
        text = (attribute.text or "").strip()
        if attribute.get("name") == _SCORE and text:
            try:
                score = float(text)
            except ValueError:
                score = math.nan
            if not 0 <= score <= 1:
                raise ValueError(
                    f"{where}: the attribute {_SCORE} is {text!r}, expected 0 to 1. Correct it, or "
                    "leave it empty."
                )
            return score
    return None


def _text(element, key, where):
    value = (element.get(key) or "").strip()
    if not value:
        raise ValueError(f"{where}: <{element.tag}> lacks {key}. Add it, or export the task anew.")
    return value


def _finite(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _number(element, key, where, default=None):
    if default is not None and key not in element.attrib:
        return default
    text = _text(element, key, where)
    try:
        return _finite(text)
    except ValueError:
        raise ValueError(f"{where}: {key} is {text!r}, expected a number.") from None


def _side(element, key, where):
    text = _text(element, key, where)
    if not (text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise ValueError(f"{where}: {key} is {text!r}, expected the image's size in pixels.")
    return int(text)


def write_cvat(writing: Writing) -> None:
    """Write ``annotations.xml``, and ``labels.json`` for the *Raw* labels of a new task.

    The score of a box is its attribute ``score``, which those labels declare.
    """
    labels = list(_labels(writing.class_names))
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    listed = ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task")
    listed = ElementTree.SubElement(listed, "labels")
    for label in labels:
        element = ElementTree.SubElement(listed, "label")
        for key in ("name", "color", "type"):
            ElementTree.SubElement(element, key).text = label[key]
        attribute = ElementTree.SubElement(element, "attributes")
        attribute = ElementTree.SubElement(attribute, "attribute")
        for key, value in label["attributes"][0].items():
            text = "\n".join(value) if isinstance(value, list) else str(value)
            ElementTree.SubElement(attribute, key).text = text
    for number, (name, image) in enumerate(writing.images.items()):
        size = {"width": str(image.width), "height": str(image.height)}
        element = ElementTree.SubElement(
            root, "image", {"id": str(number), "name": writing.file_name(name), **size}
        )
        element.attrib |= writing.part_as("subset", name)
        for box in image.boxes:
            _write_box(element, box)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    writing.put("annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
    writing.put("labels.json", json.dumps(labels, indent=1, ensure_ascii=False) + "\n")


def _labels(class_names):
    score = {"name": _SCORE, "mutable": False, "input_type": "text", "default_value": ""}
    for name, color in zip(class_names, class_colors(class_names), strict=True):
        code = "#{:02x}{:02x}{:02x}".format(*color)
        attributes = [{**score, "values": [""]}]
        yield {"name": name, "color": code, "type": "rectangle", "attributes": attributes}


def _write_box(element, box):
    corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(repr, box.corners), strict=True))
    about = {"label": box.name, "source": "manual" if box.score is None else "auto"}
    shape = ElementTree.SubElement(
        element, "box", {**about, "occluded": "0", **corners, "z_order": "0"}
    )
    if box.score is not None:
        ElementTree.SubElement(shape, "attribute", {"name": _SCORE}).text = repr(box.score)
