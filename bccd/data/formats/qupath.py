"""QuPath: a GeoJSON file of objects for each image.

By :mod:`json` and shapely, which counting in regions needs anyway: the package ``geojson`` adds
classes for the same dicts, and knows nothing of QuPath's properties.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely

from bccd.data.classes import Color, class_colors
from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.json_content import Entry, load_json, shown
from bccd.data.formats.json_kinds import QUPATH, kind_of
from bccd.data.formats.listing import list_files_of_images, size_of
from bccd.data.formats.shapes import Corners, is_upright_rectangle
from bccd.data.formats.writing import Writing

_SCORE = "score"  # the measurement of an object
_AREAS = ("Polygon", "MultiPolygon")


def is_qupath(root: Path, below: Sequence[Path]) -> bool:
    """Whether a GeoJSON file is among the files ``below`` a folder."""
    return any(map(describes, below))


def describes(path: Path) -> bool:
    """Whether a file is GeoJSON."""
    return kind_of(path) == QUPATH


def read_qupath(root: Path, file: Path | None = None) -> AnnotatedDataset:
    """List the GeoJSON files below a folder, or one of them.

    ``field.geojson``, or ``field.jpg.geojson``, is of the image ``field.jpg``.
    """
    found = [file] if file else [p for p in files.list_files(root) if describes(p)]
    return list_files_of_images(root, "qupath", found, _read, every_picture=file is None)


def _read(path, listing):
    """An AnnotatedImage, and how many of its boxes were drawn as another shape."""
    boxes, outlines = [], 0
    for number, feature in enumerate(_features(load_json(path), path), start=1):
        feature = Entry(feature, f"{path}: feature {number}")
        corners, is_box = _corners(feature)
        properties = feature.entry("properties")
        boxes.append(
            AnnotatedBox(_class_of(properties), corners, None, feature.where, 0, _score(properties))
        )
        outlines += not is_box
    image = listing.same_stem(path, path.stem)
    width, height = size_of(image, str(path), as_stored=True)
    return AnnotatedImage(image, path, 0, width, height, tuple(boxes)), outlines


def _features(content, path):
    """The features of a collection, of a list as QuPath exports it, or a single one."""
    if isinstance(content, list):
        return content
    content = Entry(content, str(path))
    if content.values.get("type") == "Feature":
        return [content.values]
    return content.items("features")


def _corners(feature: Entry) -> tuple[Corners, bool]:
    """The box of a feature, and whether it was drawn as one."""
    geometry = feature.entry("geometry")
    kind = geometry.text("type")
    if kind not in _AREAS:
        raise ValueError(
            f"{feature.where}: a {kind} has no box. Draw a rectangle instead, or remove it."
        )
    try:
        with np.errstate(invalid="ignore"):  # said below
            shape = shapely.geometry.shape(geometry.values)
        corners = shape.bounds
    except Exception as error:  # whatever shapely makes of coordinates that are none
        raise ValueError(
            f"{feature.where}: coordinates of the {kind} cannot be used ({error})."
        ) from None
    if len(corners) != 4 or not all(map(math.isfinite, corners)):
        raise ValueError(f"{feature.where}: the {kind} has no points. Draw it anew.")
    is_box = kind == "Polygon" and is_upright_rectangle(shape.exterior.coords)
    return corners, is_box


def _class_of(properties: Entry) -> str:
    if not properties.has("classification"):
        raise ValueError(
            f"{properties.where}: the object has no classification. Set its class in QuPath, or "
            "remove it."
        )
    classification = properties.entry("classification")
    if classification.has("names"):
        names = classification.items("names")
        return ": ".join(map(str, names)) if names else classification.text("name")
    return classification.text("name")


def _score(properties: Entry) -> float | None:
    measurements = properties.values.get("measurements") or {}
    if isinstance(measurements, list):  # of QuPath before 0.4
        pairs = [m for m in measurements if isinstance(m, dict)]
        measurements = {m.get("name"): m.get("value") for m in pairs}
    if not isinstance(measurements, dict):
        raise ValueError(
            f"{properties.where}: measurements is {shown(measurements)}, expected an object."
        )
    return Entry(measurements, f"{properties.where}, measurements").score(_SCORE)


def write_qupath(writing: Writing) -> None:
    """Write a GeoJSON file for each image, beside it; the score is a measurement."""
    colors = class_colors(writing.class_names)
    colors = dict(zip(writing.class_names, colors, strict=True))
    for name, image in writing.images.items():
        features = [
            box_feature(box.corners, box.name, colors[box.name], box.score) for box in image.boxes
        ]
        text = json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False)
        writing.put(f"{writing.place(name)}.geojson", f"{text}\n")


def box_feature(corners: Sequence[float], name: str, color: Color, score: float | None) -> dict:
    """A box as QuPath's object: a detection where it has a score, else an annotation."""
    x0, y0, x1, y1 = corners
    properties = {
        "objectType": "annotation" if score is None else "detection",
        "classification": {"name": name, "color": list(map(int, color))},
    }
    if score is not None:
        properties["measurements"] = {_SCORE: score}
    return polygon_feature([[[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]], properties)


def polygon_feature(rings: list, properties: dict) -> dict:
    """A GeoJSON feature of a polygon: its outer ring and its holes, each of points [x, y]."""
    geometry = {"type": "Polygon", "coordinates": rings}
    return {"type": "Feature", "geometry": geometry, "properties": properties}
