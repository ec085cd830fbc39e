"""Detections and counts of many images as two files: detections.json and counts.csv."""

import csv
import io
import json
from pathlib import Path

import numpy as np

from bccd.data.classes import CLASS_NAMES
from bccd.visualization.drawing import count_classes

JSON_NAME, CSV_NAME = "detections.json", "counts.csv"


class DetectionFiles:
    """``detections.json`` and ``counts.csv`` of a folder, complete after every image.

    ``detections.json`` is a list of COCO results (``image_id`` from 1 in order of input,
    ``category_id`` from 1 in order of ``CLASS_NAMES``, ``bbox`` [x, y, width, height] in pixels,
    ``score``) with ``file_name`` added. ``counts.csv`` has a row per image and the totals last.
    Both end properly at any moment, so what was done before a crash can be read.
    """

    def __init__(self, folder):
        """Create the two files in ``folder``, replacing older ones. Use in a ``with`` block."""
        self._json = _EndedFile(Path(folder, JSON_NAME), "[", "\n]\n")
        header = _csv_line(["file", *CLASS_NAMES, "total"])
        self._csv = _EndedFile(Path(folder, CSV_NAME), header, self._totals({}))
        self.totals = dict.fromkeys(CLASS_NAMES, 0)
        self.image_count = 0
        self._separator = "\n"

    def add(self, file_name, detections):
        """Append one image's detections, as :func:`to_coco_results` gives them."""
        self.image_count += 1
        if detections:
            owner = {"image_id": self.image_count, "file_name": str(file_name)}
            lines = ",\n".join(json.dumps({**owner, **entry}) for entry in detections)
            self._json.append(self._separator + lines, "\n]\n")
            self._separator = ",\n"
        counts = count_classes([entry["category_id"] - 1 for entry in detections])
        for name, count in counts.items():
            self.totals[name] += count
        row = [file_name, *counts.values(), sum(counts.values())]
        self._csv.append(_csv_line(row), self._totals(self.totals))

    def _totals(self, totals):
        counts = [totals.get(name, 0) for name in CLASS_NAMES]
        return _csv_line(["total", *counts, sum(counts)])

    def __enter__(self):
        """Return the writer itself."""
        return self

    def __exit__(self, *error):
        """Close both files."""
        self._json.close()
        self._csv.close()


class _EndedFile:
    """A text file whose ending, never shorter than before, is written anew after each addition."""

    def __init__(self, path, start, end):
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._position = 0
        self.append(start, end)

    def append(self, text, end):
        self._file.seek(self._position)
        self._file.write(text)
        self._position = self._file.tell()
        self._file.write(end)
        self._file.flush()

    def close(self):
        self._file.close()


def _csv_line(values):
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


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
