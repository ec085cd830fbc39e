"""LabelMe: a JSON file beside each image."""

import json
from collections.abc import Sequence
from pathlib import Path

from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.json_content import Entry, load_json
from bccd.data.formats.json_kinds import LABELME, kind_of
from bccd.data.formats.listing import list_files_of_images, size_of
from bccd.data.formats.shapes import around, ellipse
from bccd.data.formats.writing import Writing

_VERSION = "5.5.0"  # of LabelMe whose files these are; later ones read them
_OUTLINES = ("polygon", "circle", "oriented_rectangle", "rotation")


def is_labelme(root: Path, below: Sequence[Path]) -> bool:
    """Whether a file of LabelMe is among the files ``below`` a folder."""
    return any(map(describes, below))


def describes(path: Path) -> bool:
    """Whether a file is LabelMe's."""
    return kind_of(path) == LABELME


def read_labelme(root: Path, file: Path | None = None) -> AnnotatedDataset:
    """List LabelMe's files below a folder, or one of them."""
    found = [file] if file else [p for p in files.list_files(root) if describes(p)]
    return list_files_of_images(root, "labelme", found, _read, every_picture=file is None)


def _read(path, listing):
    """An AnnotatedImage, and how many of its boxes were drawn as another shape."""
    content = Entry(load_json(path), str(path))
    image = listing.finder(path)(content.text("imagePath"))
    if not image.is_file():
        image = listing.same_stem(path, path.stem)
    if content.has("imageWidth") or content.has("imageHeight"):
        width, height = content.pixels("imageWidth"), content.pixels("imageHeight")
    else:
        width, height = size_of(image, str(path))
    boxes, outlines = [], 0
    for shape in content.entries("shapes", "shape"):
        kind = shape.text("shape_type") if shape.has("shape_type") else "polygon"
        corners = _corners(shape, kind)
        score = shape.score("score")
        boxes.append(AnnotatedBox(shape.text("label"), corners, None, shape.where, score=score))
        outlines += kind != "rectangle"
    return AnnotatedImage(image, path, 0, width, height, tuple(boxes)), outlines


def _corners(shape, kind):
    points = shape.points("points")
    if kind in ("rectangle", "mask") and len(points) not in (2, 4):
        raise ValueError(f"{shape.where}: {kind} of {len(points)} points, expected 2 corners.")
    if kind == "circle":
        if len(points) != 2:
            raise ValueError(f"{shape.where}: circle of {len(points)} points, expected 2.")
        (cx, cy), (x, y) = points
        radius = ((x - cx) ** 2 + (y - cy) ** 2) ** 0.5
        return ellipse(cx, cy, radius, radius)
    if kind not in ("rectangle", "mask", *_OUTLINES):
        raise ValueError(
            f"{shape.where}: shape_type {kind} has no box. Draw a rectangle instead, or remove it."
        )
    return around(points)


def write_labelme(writing: Writing) -> None:
    """Write a file for each image, beside it.

    The score of a box is its key ``score``, which LabelMe keeps and does not show.
    """
    for name, image in writing.images.items():
        shapes = [_shape(box) for box in image.boxes]
        content = {
            **{"version": _VERSION, "flags": {}, "shapes": shapes},
            **{"imagePath": Path(writing.file_name(name)).name, "imageData": None},
            **{"imageHeight": image.height, "imageWidth": image.width},
        }
        text = json.dumps(content, indent=2, ensure_ascii=False)
        writing.put(f"{writing.place(name)}.json", f"{text}\n")


def _shape(box):
    x0, y0, x1, y1 = box.corners
    shape = {"label": box.name, "points": [[x0, y0], [x1, y1]], "group_id": None}
    shape |= {"description": "", "shape_type": "rectangle", "flags": {}, "mask": None}
    return shape if box.score is None else {**shape, "score": box.score}
