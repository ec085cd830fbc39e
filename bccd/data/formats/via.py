"""VGG Image Annotator 2: a project, or the annotations exported as JSON or CSV."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.json_content import Entry, load_json, shown
from bccd.data.formats.json_kinds import VIA, kind_of
from bccd.data.formats.listing import Listing, size_of
from bccd.data.formats.shapes import Corners, around, ellipse
from bccd.data.formats.text_content import read_text
from bccd.data.formats.writing import Writing

_CLASS, _SCORE, _PART = "class", "score", "part"  # attributes in what is written
# Attributes that hold the class where a region has several.
_CLASS_ATTRIBUTES = (_CLASS, "label", "name", "type", "category")
_CSV_START = "filename,file_size,file_attributes,region_count"


def is_via(root: Path, below: Sequence[Path]) -> bool:
    """Whether a file of VIA is among the files ``below`` a folder."""
    return any(map(describes, below))


def describes(path: Path) -> bool:
    """Whether a file is VIA's."""
    if path.suffix.lower() != ".csv":
        return kind_of(path) == VIA
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        return file.readline(200).replace("#", "").replace('"', "").startswith(_CSV_START)


def read_via(root: Path, file: Path | None = None) -> AnnotatedDataset:
    """List VIA's files below a folder, or one of them."""
    found = [file] if file else [p for p in files.list_files(root) if describes(p)]
    listing, options = Listing(root, "via", found), []
    for path in found:
        try:
            is_csv = path.suffix.lower() == ".csv"
            content = _from_csv(path) if is_csv else Entry(load_json(path), str(path))
            find, outlines = listing.finder(path), 0
            for entry in _images(content):
                image, drawn = _read(entry, path, find)
                outlines += drawn
                attributes = entry.values.get("file_attributes")
                part = attributes.get(_PART) if isinstance(attributes, dict) else None
                listing.add(image, part if isinstance(part, str) and part else None)
            listing.simplify(path, outlines)
            options += _options(content)
        except ValueError as error:
            listing.refuse(path, error)
    return listing.finish(options, every_picture=file is None)


def _from_csv(path):
    """The rows of a CSV file as the JSON that VIA makes of the same annotations."""
    images = {}
    rows = csv.DictReader(io.StringIO(read_text(path).lstrip("#")), strict=True)
    try:
        for number, row in enumerate(rows, start=2):
            where = f"{path}:{number}"
            row = Entry(row, where)
            name = row.text("filename")
            image = images.setdefault(name, {"filename": name, "regions": [], "_line": number})
            image["file_attributes"] = _json(row, "file_attributes")
            shape = _json(row, "region_shape_attributes")
            if shape:
                about = {"region_attributes": _json(row, "region_attributes"), "_line": number}
                image["regions"].append({"shape_attributes": shape, **about})
    except csv.Error as error:
        raise ValueError(f"{path}: not CSV ({error}).") from None
    return Entry(images, str(path))


def _json(row, key):
    try:
        return json.loads(row.values.get(key) or "{}")
    except (ValueError, RecursionError):
        raise ValueError(
            f"{row.where}: {key} is {shown(row.values[key])}, expected JSON."
        ) from None


def _images(content: Entry) -> Iterator[Entry]:
    """The entries of the images of a project, or of what is exported from one."""
    if "_via_img_metadata" in content.values:
        content = content.entry("_via_img_metadata")
    for key, value in content.values.items():
        yield Entry(value, f"{content.where}, {key}")


def _options(content):
    """The classes that a project lists."""
    attributes = (content.values.get("_via_attributes") or {}).get("region") or {}
    for name in _CLASS_ATTRIBUTES:
        options = attributes.get(name, {}).get("options") if name in attributes else None
        if isinstance(options, dict) and options:
            return [str(option) for option in options]
    return []


def _read(entry, path, find):
    """An AnnotatedImage, and how many of its boxes were drawn as another shape."""
    image = find(entry.text("filename"))
    width, height = size_of(image, entry.where)
    regions = entry.values.get("regions")
    if isinstance(regions, dict):  # of VIA 1
        regions = list(regions.values())
    boxes, outlines = [], 0
    for region in Entry({"regions": regions}, entry.where).entries("regions", "region"):
        shape = region.entry("shape_attributes")
        attributes = region.entry("region_attributes")
        line = region.values.get("_line")
        line = line if isinstance(line, int) else None
        score = attributes.score(_SCORE) if attributes.values.get(_SCORE) != "" else None
        name = _class_of(attributes)
        box = AnnotatedBox(name, _corners(shape), line, region.where, score=score)
        boxes.append(box)
        outlines += shape.values.get("name") != "rect"
    return AnnotatedImage(image, path, 0, width, height, tuple(boxes)), outlines


def _corners(shape: Entry) -> Corners:
    kind = shape.text("name")
    if kind == "rect":
        x, y, width, height = shape.numbers("x", "y", "width", "height")
        return x, y, x + width, y + height
    if kind == "circle":
        cx, cy, radius = shape.numbers("cx", "cy", "r")
        return ellipse(cx, cy, radius, radius)
    if kind == "ellipse":
        theta = shape.number("theta") if shape.has("theta") else 0  # radians
        return ellipse(*shape.numbers("cx", "cy", "rx", "ry"), theta * 57.29577951308232)
    if kind == "polygon":
        xs, ys = shape.items("all_points_x"), shape.items("all_points_y")
        pairs = [[x, y] for x, y in zip(xs, ys, strict=False)]
        if len(xs) != len(ys):
            raise ValueError(f"{shape.where}: {len(xs)} x for {len(ys)} y of a polygon.")
        return around(Entry({"points": pairs}, shape.where).points("points"))
    raise ValueError(f"{shape.where}: {kind} has no box. Draw a rectangle instead, or remove it.")


def _class_of(attributes: Entry) -> str:
    """The class of a region: its attribute of a known name, else the only one that it has."""
    filled = {k: v for k, v in attributes.values.items() if v not in ("", None, {}) and k != _SCORE}
    known = [key for key in _CLASS_ATTRIBUTES if key in filled]
    if not known and len(filled) != 1:
        found = f"the attributes {', '.join(filled)}" if filled else "no attribute"
        raise ValueError(
            f"{attributes.where}: {found}, of which none is called {_CLASS}. Give each region its "
            f"{_CLASS}."
        )
    value = filled[known[0] if known else next(iter(filled))]
    if isinstance(value, dict):  # of check boxes: {"RBC": true}
        ticked = [name for name, on in value.items() if on]
        if len(ticked) != 1:
            raise ValueError(f"{attributes.where}: {len(ticked)} classes are ticked, expected 1.")
        value = ticked[0]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{attributes.where}: the class is {shown(value)}, expected a text.")
    return value.strip()


def write_via(writing: Writing) -> None:
    """Write ``via_project.json``, which *Load* of VIA 2 opens; images are in ``images/``.

    Class and score of a box are its region's attributes ``class`` and ``score``.
    """
    metadata = {}
    for name, image in writing.images.items():
        file_name = writing.file_name(name)
        size = image.path.stat().st_size
        part = writing.part_as(_PART, name)
        metadata[f"{file_name}{size}"] = {
            **{"filename": file_name, "size": size, "file_attributes": part},
            "regions": [_region(box) for box in image.boxes],
        }
    options = {name: "" for name in writing.class_names}
    dropdown = {"type": "dropdown", "description": "", "options": options, "default_options": {}}
    text = {"type": "text", "description": "", "default_value": ""}
    core = {"buffer_size": 18, "filepath": {}, "default_filepath": "images/"}
    project = {
        "_via_settings": {"core": core, "project": {"name": "blood cells"}},
        "_via_img_metadata": metadata,
        "_via_attributes": {"region": {_CLASS: dropdown, _SCORE: text}, "file": {_PART: text}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(metadata),
    }
    writing.put("via_project.json", json.dumps(project, ensure_ascii=False) + "\n")


def _region(box):
    x0, y0, x1, y1 = box.corners
    shape = {"name": "rect", "x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
    score = {} if box.score is None else {_SCORE: repr(box.score)}
    return {"shape_attributes": shape, "region_attributes": {_CLASS: box.name, **score}}
