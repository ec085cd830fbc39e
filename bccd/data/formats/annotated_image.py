"""Annotated images as their files have them, and the step from there to Detectron2 records."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bccd.data.boxes import box_error, clip, format_box, has_no_area, passes_border
from bccd.data.classes import find_class

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

    def renumbered(self, image_id: int) -> "AnnotatedImage":
        """The same image with another id."""
        return replace(self, image_id=image_id)


def to_records(
    images: Iterable[AnnotatedImage], source: str | Path, class_names: Sequence[str]
) -> list[dict]:
    """Detectron2 records of annotated images, by the project's rules.

    A box without area is dropped with a warning; a box past the border is clipped, with one
    warning for all; whatever else would change a result is an error.

    Args:
        images: of one data set.
        source: name of the data set, for messages.
        class_names: classes by their ids; a box may have any accepted spelling of one.

    Returns:
        list[dict]: ``file_name``, ``image_id``, ``height``, ``width`` and ``annotations``, each a
        dict of ``bbox`` (XYXY_ABS, floats), ``bbox_mode``, ``category_id``, ``iscrowd``.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: a class is unknown, or a box is inverted, not finite or outside its image; the
            message names file and line.
    """
    records, clipped, category_ids = [], [], _CategoryIds(class_names)
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
                "annotations": list(_instances(image, category_ids, clipped)),
            }
        )
    if clipped:
        message = "%s: %d boxes reach past the border of their image and are clipped, first at %s"
        logger.warning(message, source, len(clipped), clipped[0])
    return records


class _CategoryIds(dict):
    """Contiguous class ids by the names that boxes have; raises ValueError for another class."""

    def __init__(self, class_names):
        super().__init__()
        self.class_names = list(class_names)

    def of(self, box):
        if box.name not in self:
            category = find_class(box.name, self.class_names)
            if category is None:
                raise ValueError(
                    f"{box.where}: unknown class {box.name!r} (expected one of "
                    f"{', '.join(self.class_names)}). Rename or remove this object."
                )
            self[box.name] = category
        return self[box.name]


def _instances(image, category_ids, clipped):
    from detectron2.structures import BoxMode  # recounting runs without it

    for box in image.boxes:
        category = category_ids.of(box)
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
