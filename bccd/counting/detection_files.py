"""Detections and counts of many images as two files: detections.json and counts.csv."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bccd.counting.coco_file import CocoFile
from bccd.counting.count_table import CountTable
from bccd.counting.slides.cells_file import CELLS, read_cells
from bccd.data.formats.coco import IMAGES

if TYPE_CHECKING:  # it writes itself with this module
    from bccd.counting.result import CountResult
    from bccd.counting.slides.result import SlideResult
    from bccd.detections import Detections

JSON_NAME, CSV_NAME = "detections.json", "counts.csv"


class Found(NamedTuple):
    """What was found in an image.

    Attributes:
        width, height (int): of the image, in pixels.
        detections: as :func:`to_coco_results` gives them.
        notes: sentences, why the count should not be trusted; see ``count_notes``.
        scale: diameter of red cells in pixels, and its source; None: unknown. See ``Scale``.
        area: pixels, and micrometres per pixel or None, see ``CountedArea``; None: unknown.
        intervals: {class name: (least, largest number)}; None: there are none.
        cells: of a slide, whose detections are in a file: its path from the output folder, and
            their number by class.
    """

    width: int
    height: int
    detections: list
    notes: list
    scale: tuple | None = None
    area: tuple | None = None
    intervals: dict | None = None
    cells: tuple | None = None

    @classmethod
    def of_slide(cls, result: "SlideResult", folder: Path) -> "Found":
        """Of a slide, whose results are in a ``folder`` of the output folder."""
        height, width = result.size
        cells = (folder / CELLS).as_posix(), list(result.counts.values())
        about = list(result.notes), result.scale, result.area, result.intervals
        return cls(width, height, [], *about, cells)

    @classmethod
    def of(cls, result: "CountResult") -> "Found":
        """Of a result that is ok."""
        height, width = result.size
        detections, notes = to_coco_results(result), list(result.notes)
        about = result.scale, result.area, result.intervals
        return cls(width, height, detections, notes, *about)

    def count(self, class_names: Sequence[str]) -> Counter:
        """{class name: int} of the classes that there are."""
        if self.cells:
            return Counter(dict(zip(class_names, self.cells[1], strict=True)))
        return Counter(class_names[entry["category_id"] - 1] for entry in self.detections)

    def to_coco_image(self, number: int, name: str) -> dict:
        """The entry of the image in a COCO file, by its id and name."""
        image = {"id": number, "file_name": name, "width": self.width, "height": self.height}
        image |= {"slide": True} if self.cells else {}
        if self.scale:
            diameter, source = self.scale
            image |= {"red_cell_diameter": round(diameter, 1), "scale": source}
        if self.area:
            pixels, size = self.area
            image |= {"counted_area": pixels} if pixels != self.width * self.height else {}
            image |= {"micrometres_per_pixel": size} if size else {}
        return image | ({"notes": self.notes} if self.notes else {})


class DetectionFiles:
    """``detections.json`` (see :class:`CocoFile`) and ``counts.csv`` (see :class:`CountTable`).

    Attributes:
        table (CountTable): knows the totals.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        settings: dict,
        output: str | os.PathLike | None = None,
        images: Path | None = None,
    ) -> None:
        """Create the two files in ``folder``, replacing older ones. Use in a ``with`` block.

        Args:
            folder: for the files.
            settings: what the detections depend on, kept as the ``info`` of the COCO file;
                the keys of ``threshold`` and ``color`` are the names of the classes, in their
                order.
            output: folder that holds the results of slides; default: ``folder``.
            images: folder that the names of the images start from, which ``bccd calibrate`` reads
                again; None: they are of no folder.
        """
        self._output = Path(folder if output is None else output)
        self._names = list(settings["threshold"])
        info = describe_run(settings) | ({IMAGES: str(images)} if images else {})
        self._coco = CocoFile(Path(folder, JSON_NAME), settings["color"], info)
        self.table = CountTable(Path(folder, CSV_NAME), self._names)

    def add(self, name: str, found: Found) -> None:
        """Append an image by its relative path and :class:`Found`."""
        detections = found.detections
        if found.cells:
            detections = read_cells(self._output / found.cells[0], self._names)
        self._coco.add(found.to_coco_image(self.table.images + 1, name), detections)
        about = found.notes, found.scale, found.area, found.intervals
        self.table.add(name, found.count(self._names), *about, is_slide=bool(found.cells))

    def skip(self, name: str, status: str) -> None:
        """Append an image that is not counted; ``status`` says why."""
        self._coco.skip({"id": self.table.images + 1, "file_name": name, "status": status})
        self.table.skip(name, status)

    def __enter__(self) -> "DetectionFiles":
        """Return the writer itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Complete both files."""
        self._coco.close()
        self.table.close()


def describe_run(settings: dict) -> dict:
    """The ``info`` of a COCO file; the colours are in its categories."""
    settings = {key: value for key, value in settings.items() if key != "color"}
    return {"description": "cells counted by bccd", **settings}


def relative_names(files: Iterable) -> list[str]:
    """Names of images in the result files: their paths from the deepest folder that holds all.

    Args:
        files: their ``str()`` is a path.

    Returns:
        names with forward slashes, as :func:`printable` gives them.
    """
    paths = [Path(os.path.abspath(str(file))) for file in files]
    if not paths:
        return []
    root = common_folder(paths)
    return [printable(path.relative_to(root).as_posix()) for path in paths]


def common_folder(files: Iterable) -> Path:
    """The deepest folder that holds all of one file or more; their ``str()`` is a path."""
    return Path(os.path.commonpath([Path(os.path.abspath(str(file))).parent for file in files]))


def printable(name: object) -> str:
    """``str(name)`` that any program reads, though a file name may hold bytes that are no text."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")


def to_coco_results(found: "Detections | CountResult") -> list[dict]:
    """Detections of one image as COCO results without the image's id, best score first.

    Args:
        found: in the image.

    Returns:
        {"category_id", "bbox", "score"}; ids from 1, boxes [x, y, width, height] in pixels.
    """
    boxes = found.boxes.astype(np.float64)
    boxes[:, 2:] -= boxes[:, :2]
    return [
        {
            "category_id": int(found.classes[i]) + 1,
            "bbox": [round(value, 3) for value in boxes[i].tolist()],
            "score": round(float(found.scores[i]), 6),
        }
        for i in np.argsort(-found.scores, kind="stable").tolist()
    ]
