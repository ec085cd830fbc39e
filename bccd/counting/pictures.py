"""Pictures of counted images."""

import dataclasses
import errno
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bccd.counting.detection_files import printable
from bccd.counting.image_errors import ImageError, blame_image, in_plain_words
from bccd.visualization.drawing import draw_detections
from bccd.visualization.png import write_png
from bccd.visualization.regions import draw_region

if TYPE_CHECKING:  # it draws itself with this module
    from bccd.counting.result import CountResult

BLANK = np.full((480, 640, 3), 230, dtype=np.uint8)  # a field without cells
NAME_ERRORS = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EILSEQ)
NOTED = ", see its notes"  # in the title of a picture whose count should not be trusted


def draw_result(
    image_rgb: np.ndarray,
    result: "CountResult",
    title: str,
    *,
    scores: bool = True,
    labels: bool = True,
) -> np.ndarray:
    """The image with its cells in boxes, its region of interest, and the counts.

    Args:
        image_rgb: uint8 array (H, W, 3).
        result: of the image.
        title: text at the end of the strip below.
        scores, labels: write them at the boxes.

    Returns:
        uint8 array, RGB, see ``draw_detections``.
    """
    if result.region is not None:
        image_rgb = draw_region(image_rgb, result.region.to_mask(image_rgb.shape[:2]))
    return draw_detections(
        image_rgb,
        result.boxes,
        result.classes,
        result.scores if scores else None,
        title=title,
        labels=labels,
        class_names=result.class_names,
        colors=result.class_colors,
        cell_diameter=result.scale.diameter if result.scale else None,
    )


def title_of(name: str, result: "CountResult") -> str:
    """What a picture of the image ``name`` says: the name, and whether its count has notes."""
    return printable(name) + (NOTED if result.notes else "")


def write_picture(path: Path, image_bgr: np.ndarray, result: "CountResult", name: str) -> None:
    """Draw an image and write it as PNG.

    Args:
        path: of the file.
        image_bgr: uint8 array (H, W, 3).
        result: of the image.
        name: of the image, for the title.

    Raises:
        ImageError: this image cannot be drawn, or its picture cannot have that name.
        OSError: no picture can be written.
    """
    with blame_image("cannot be drawn", lambda: draw_result(BLANK, _without_cells(result), "")):
        picture = draw_result(image_bgr[:, :, ::-1], result, title_of(name, result))
    with _blame_name():
        write_png(Path(path), picture)


def _without_cells(result):
    arrays = {name: getattr(result, name)[:0] for name in ("boxes", "scores", "classes")}
    return dataclasses.replace(result, region=None, **arrays)


@contextmanager
def _blame_name():
    """Turn the error of a file name that cannot be written into an ``ImageError``."""
    try:
        yield
    except OSError as error:
        if error.errno not in NAME_ERRORS:  # a full disk is no fault of the image
            raise
        raise ImageError(f"its picture cannot be written: {in_plain_words(error)}") from error
