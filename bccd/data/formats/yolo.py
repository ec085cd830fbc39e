"""Reader and writer for one YOLO label file; :mod:`.yolo_folder` has the folders of them."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.text_content import read_text

_MAX_SHARE = 2.0  # of width or height; a larger number is in pixels


def read_labels(
    path: Path, class_names: Sequence[str], width: int, height: int
) -> tuple[AnnotatedBox, ...]:
    """Boxes of a label file: a line each, ``class cx cy w h`` as shares of the image's size.

    A sixth number is the score of a detection, as Ultralytics saves them. Of a polygon, ``class x
    y x y x y ...``, the box around it is taken.

    Args:
        path: text file.
        class_names: classes by their numbers in the file.
        width, height: of the image, in pixels.

    Raises:
        ValueError: a line cannot be used; the message names file and line.
    """
    lines = read_text(path).splitlines()
    return tuple(
        _box(line.split(), f"{path}:{number}", number, class_names, (width, height))
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _box(fields, where, line, class_names, size):
    try:
        category, *values = map(float, fields)
    except ValueError:
        raise ValueError(f"{where}: {' '.join(fields)!r} is not numbers. Export it anew.") from None
    if not (category.is_integer() and 0 <= category < len(class_names)):
        raise ValueError(
            f"{where}: class {fields[0]}, but there are {len(class_names)} names, numbered from 0: "
            f"{', '.join(class_names)}. Correct the number, or the names."
        )
    if not all(math.isfinite(v) and abs(v) <= _MAX_SHARE for v in values):
        raise ValueError(
            f"{where}: expected shares of the image's size, from 0 to 1, found "
            f"{' '.join(fields[1:])}. Export the boxes anew, normalised."
        )
    score = None
    if len(values) in (4, 5):
        cx, cy, w, h, *scores = values
        score = _score(scores, where)
        corners = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
    elif len(values) >= 6 and len(values) % 2 == 0:
        xs, ys = values[0::2], values[1::2]
        corners = (min(xs), min(ys), max(xs), max(ys))
    else:
        raise ValueError(
            f"{where}: {len(fields)} numbers, expected 5 (class cx cy w h), 6 with a score, or a "
            "polygon of at least 3 points behind the class."
        )
    corners = tuple(v * side for v, side in zip(corners, (*size, *size), strict=True))
    return AnnotatedBox(class_names[int(category)], corners, line, where, score=score)


def _score(scores, where):
    if not scores:
        return None
    if not 0 <= scores[0] <= 1:
        raise ValueError(f"{where}: score {scores[0]:g}, expected 0 to 1. Export it anew.")
    return scores[0]


def to_yolo_lines(image: AnnotatedImage, class_names: Sequence[str]) -> Iterator[str]:
    """Lines of a label file; a class is written as its place in ``class_names``."""
    numbers = {name: number for number, name in enumerate(class_names)}
    for box in image.boxes:
        x0, y0, x1, y1 = box.corners
        values = (
            (x0 + x1) / 2 / image.width,
            (y0 + y1) / 2 / image.height,
            (x1 - x0) / image.width,
            (y1 - y0) / image.height,
        )
        yield " ".join([str(numbers[box.name]), *(f"{v:.12f}" for v in values)]) + "\n"
