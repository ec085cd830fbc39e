"""Detections and counts of many images as two files: detections.json and counts.csv."""

import os
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bccd.counting.coco_file import CocoFile
from bccd.counting.count_table import CountTable

JSON_NAME, CSV_NAME = "detections.json", "counts.csv"


class Found(NamedTuple):
    """What was found in an image.

    Attributes:
        width, height (int): of the image, in pixels.
        detections: as :func:`to_coco_results` gives them.
        notes: sentences, why the count should not be trusted; see ``count_notes``.
    """

    width: int
    height: int
    detections: list
    notes: list


class DetectionFiles:
    """``detections.json`` (see :class:`CocoFile`) and ``counts.csv`` (see :class:`CountTable`).

    Attributes:
        table (CountTable): knows the totals.
    """

    def __init__(self, folder, settings):
        """Create the two files in ``folder``, replacing older ones. Use in a ``with`` block.

        Args:
            settings (dict): what the detections depend on, kept as the ``info`` of the COCO file;
                the keys of ``threshold`` and ``color`` are the names of the classes, in their
                order.
        """
        self._names = list(settings["threshold"])
        info = {"description": "cells counted by demo.py", **settings}
        colors = info.pop("color")
        self._coco = CocoFile(Path(folder, JSON_NAME), colors, info)
        self.table = CountTable(Path(folder, CSV_NAME), self._names)

    def add(self, name, found):
        """Append an image by its relative path and :class:`Found`."""
        image = {"id": self.table.images + 1, "file_name": name}
        image |= {"width": found.width, "height": found.height}
        image |= {"notes": found.notes} if found.notes else {}
        self._coco.add(image, found.detections)
        counts = Counter(self._names[entry["category_id"] - 1] for entry in found.detections)
        self.table.add(name, counts, found.notes)

    def skip(self, name, status):
        """Append an image that is not counted; ``status`` says why."""
        self._coco.skip({"id": self.table.images + 1, "file_name": name, "status": status})
        self.table.skip(name, status)

    def __enter__(self):
        """Return the writer itself."""
        return self

    def __exit__(self, *error):
        """Complete both files."""
        self._coco.close()
        self.table.close()


def relative_names(files):
    """Names of images in the result files: their paths from the deepest folder that holds all.

    Args:
        files: sequence whose ``str()`` is a path.

    Returns:
        list of str with forward slashes, as :func:`printable` gives them.
    """
    paths = [Path(os.path.abspath(str(file))) for file in files]
    root = os.path.commonpath([path.parent for path in paths])
    return [printable(path.relative_to(root).as_posix()) for path in paths]


def printable(name):
    """``str(name)`` that any program reads, though a file name may hold bytes that are no text."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")


def to_coco_results(found):
    """Detections of one image as COCO results without the image's id, best score first.

    Args:
        found (Detections): of the image.

    Returns:
        list of {"category_id", "bbox", "score"}; ids from 1, boxes [x, y, width, height] in pixels.
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
