"""Annotated images as their files have them, and the step from there to Detectron2 records."""

import logging
from dataclasses import dataclass
from pathlib import Path

from detectron2.structures import BoxMode

from bccd.data.boxes import box_error, clip, format_box, has_no_area, passes_border
from bccd.data.sources.bccd_classes import CLASS_NAMES, class_id

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnnotatedBox:
    """One box as written.

    Attributes:
        name: class as spelled in the file.
        corners: x0, y0, x1, y1 in pixels.
        line: its line in the annotation file; None in JSON, which has no useful lines.
        where: file and line, or file and annotation id, for messages.
    """

    name: str
    corners: tuple[float, float, float, float]
    line: int | None
    where: str
    iscrowd: int = 0


@dataclass(frozen=True)
class AnnotatedImage:
    """One image as its annotation describes it, nothing corrected.

    Attributes:
        path: image file, which may be missing.
        source: annotation file.
        image_id: integer id.
        width, height: size in pixels that the annotation states.
    """

    path: Path
    source: Path
    image_id: int
    width: int
    height: int
    boxes: tuple[AnnotatedBox, ...]


def to_records(images, source):
    """Detectron2 records of annotated images, by the project's rules.

    A box without area is dropped with a warning; a box past the border is clipped, with one
    warning for all; whatever else would change a result is an error.

    Args:
        images: iterable of AnnotatedImage.
        source: name of the data set, for messages.

    Returns:
        list[dict]: ``file_name``, ``image_id``, ``height``, ``width`` and ``annotations``, each a
        dict of ``bbox`` (XYXY_ABS, floats), ``bbox_mode``, ``category_id`` (0 to 2), ``iscrowd``.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: a class is unknown, or a box is inverted, not finite or outside its image; the
            message names file and line.
    """
    records, clipped = [], []
    for image in images:
        if not image.path.is_file():
            raise FileNotFoundError(
                f"{image.path} is missing, which {image.source} annotates. Add the image, or "
                "remove its annotation."
            )
        records.append(
            {
                "file_name": str(image.path),
                "image_id": image.image_id,
                "height": image.height,
                "width": image.width,
                "annotations": list(_instances(image, clipped)),
            }
        )
    if clipped:
        message = "%s: %d boxes reach past the border of their image and are clipped, first at %s"
        logger.warning(message, source, len(clipped), clipped[0])
    return records


def _instances(image, clipped):
    for box in image.boxes:
        category = class_id(box.name)
        if category is None:
            raise ValueError(
                f"{box.where}: unknown class {box.name!r} (expected one of "
                f"{', '.join(CLASS_NAMES)}). Rename or remove this object."
            )
        error = box_error(box.corners, image.width, image.height)
        if error:
            raise ValueError(f"{box.where}: {error}. Correct or remove this box.")
        if has_no_area(box.corners):
            text = format_box(box.corners)
            logger.warning("%s: box %s has no area and is dropped", box.where, text)
            continue
        if passes_border(box.corners, image.width, image.height):
            clipped.append(box.where)
        yield {
            "bbox": clip(box.corners, image.width, image.height),
            "bbox_mode": BoxMode.XYXY_ABS,
            "category_id": category,
            "iscrowd": box.iscrowd,
        }
