"""The cells of a slide as a GeoJSON file that QuPath opens."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import shapely

from bccd.counting.regions.region import MaskRegion
from bccd.data.classes import Color
from bccd.data.formats.qupath import box_feature, polygon_feature
from bccd.detections import Detections

CELLS = "cells.geojson"  # its name in the results of a slide
_START, _END = '{"type": "FeatureCollection", "features": [', "\n]}\n"


class CellsFile:
    """A GeoJSON file of cells, each QuPath's detection object, written as they come.

    Boxes are polygons in pixels of the full resolution; the class has its name and colour, and the
    score is a measurement. The file has its name once it is closed without an error.
    """

    def __init__(self, path: Path, class_colors: Mapping[str, Color]) -> None:
        """Create a file; ``class_colors``: {class name: RGB, 0-255} in the order of the classes."""
        self._path, self._temporary = path, path.with_name(f"{path.name}.tmp")
        self._file = open(self._temporary, "w", encoding="utf-8")  # noqa: SIM115
        self._file.write(_START)
        self._length = 0
        self._classes = list(class_colors.items())

    def add(self, cells: Detections) -> None:
        """Append cells, boxes in pixels of the slide."""
        boxes = cells.boxes.astype(np.float64).round(2).tolist()
        for box, score, k in zip(boxes, cells.scores.tolist(), cells.classes.tolist(), strict=True):
            feature = box_feature(box, *self._classes[k], round(score, 6))
            self._file.write((",\n" if self._length else "\n") + json.dumps(feature))
            self._length += 1

    def __enter__(self) -> "CellsFile":
        """Return the file itself."""
        return self

    def __exit__(self, error: object, *rest: object) -> None:
        """Complete the file; after an error there is none."""
        self._file.write(_END)
        self._file.close()
        if error is None:
            self._temporary.replace(self._path)


def read_cells(path: Path, class_names: Sequence[str]) -> Iterator[dict]:
    """The cells of such a file one by one, as ``to_coco_results`` gives detections."""
    ids = {name: number for number, name in enumerate(class_names, start=1)}
    with open(path, encoding="utf-8") as file:
        for line in file:
            if not line.startswith('{"type": "Feature",'):
                continue
            feature = json.loads(line.rstrip("\n,"))
            properties, ring = feature["properties"], feature["geometry"]["coordinates"][0]
            (left, top), (right, bottom) = ring[0], ring[2]
            yield {
                "category_id": ids[properties["classification"]["name"]],
                "bbox": [left, top, round(right - left, 2), round(bottom - top, 2)],
                "score": properties["measurements"]["score"],
            }


def write_area(path: Path, area: MaskRegion, size: tuple[int, int]) -> None:
    """Write a mask of a slide as QuPath's annotations, which ``--region`` takes when corrected.

    Args:
        path: of the GeoJSON file.
        area: a mask of large pixels.
        size: (height, width) of the slide.
    """
    rectangles = [box for row, y in enumerate(area.mask) for box in _runs(y, row)]
    shape = shapely.union_all(shapely.box(*np.array(rectangles, dtype=float).T))
    shape = shapely.transform(shape, lambda points: (points * area.step).clip(0, size[::-1]))
    features = []
    for polygon in shapely.get_parts(shape):
        rings = [polygon.exterior, *polygon.interiors]
        rings = [np.asarray(ring.coords).round(2).tolist() for ring in rings]
        properties = {"objectType": "annotation", "name": "counted area"}
        features.append(polygon_feature(rings, properties))
    content = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


def _runs(row, number):
    """(left, top, right, bottom) of neighbouring pixels that are set, in a row of a mask."""
    edges = np.flatnonzero(np.diff(np.pad(row.astype(np.int8), 1)))
    return [(left, number, right, number + 1) for left, right in edges.reshape(-1, 2).tolist()]
