"""Annotated images as their files have them, and the step from there to Detectron2 records."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bccd.data.boxes import box_error, clip, format_box, has_no_area, passes_border
from bccd.data.classes import find_class
from bccd.data.record_boxes import boxes_and_classes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AnnotatedBox:
    """One box as written.

    Attributes:
        name: class as spelled in the file.
        corners: x0, y0, x1, y1 in pixels.
        line: its line in the annotation file; None in JSON, which has no useful lines.
        where: file and line, or file and annotation id, for messages.
        iscrowd: 1 for a region of several cells.
        score: how sure a detector was, 0 to 1; None: not stated, as of a box drawn by hand.
    """

    name: str
    corners: tuple[float, float, float, float]
    line: int | None
    where: str
    iscrowd: int = 0
    score: float | None = None


@dataclass(frozen=True)
class AnnotatedImage:
    """One image as its annotation describes it, nothing corrected.

    Attributes:
        path: image file, which may be missing.
        source: annotation file.
        image_id: integer id.
        width, height: size in pixels that the annotation states, or that the image has where it
            states none; 0 where the image is missing, too.
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
    """Detectron2 records of annotated images, by the rules of :func:`cleaned`.

    Args:
        images: of one data set.
        source: name of the data set, for messages.
        class_names: classes by their ids; a box may have any accepted spelling of one.

    Returns:
        list[dict]: ``file_name``, ``image_id``, ``height``, ``width`` and ``annotations``, each a
        dict of ``bbox`` (XYXY_ABS, floats), ``bbox_mode``, ``category_id``, ``iscrowd``.

    Raises:
        FileNotFoundError, ValueError: as :func:`cleaned`.
    """
    from detectron2.structures import BoxMode  # recounting and converting run without it

    ids = {name: i for i, name in enumerate(class_names)}
    return [
        {
            "file_name": str(image.path),
            "image_id": image.image_id,
            "height": image.height,
            "width": image.width,
            "annotations": [
                {
                    "bbox": list(box.corners),
                    "bbox_mode": BoxMode.XYXY_ABS,
                    "category_id": ids[box.name],
                    "iscrowd": box.iscrowd,
                }
                for box in image.boxes
            ],
        }
        for image in cleaned(images, source, class_names)
    ]


def from_record(record: dict, class_names: Sequence[str]) -> AnnotatedImage:
    """The annotated image of a Detectron2 record; ``class_names`` are by ``category_id``."""
    boxes, classes = boxes_and_classes(record)
    crowds = [annotation.get("iscrowd") or 0 for annotation in record.get("annotations", ())]
    path = Path(record["file_name"])
    return AnnotatedImage(
        path=path,
        source=path,
        image_id=record["image_id"],
        width=record["width"],
        height=record["height"],
        boxes=tuple(
            AnnotatedBox(class_names[k], tuple(corners), None, str(path), crowd)
            for corners, k, crowd in zip(boxes.tolist(), classes.tolist(), crowds, strict=True)
        ),
    )


def cleaned(
    images: Iterable[AnnotatedImage], source: str | Path, class_names: Sequence[str]
) -> list[AnnotatedImage]:
    """Annotated images as training and conversion use them.

    A box without area is dropped with a warning; a box past the border is clipped, with one
    warning for all; whatever else would change a result is an error.

    Args:
        images: of one data set.
        source: name of the data set, for messages.
        class_names: classes; a box may have any accepted spelling of one, and gets this one.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: a class is unknown, or a box is inverted, not finite or outside its image; the
            message names file and line.
    """
    found, clipped, names = [], [], _ClassNames(class_names)
    for image in images:
        if not image.path.is_file():
            raise FileNotFoundError(
                f"{image.path} is missing, which {image.source} annotates. Add the image, or "
                "remove its annotation."
            )
        found.append(replace(image, boxes=tuple(_clean_boxes(image, names, clipped))))
    if clipped:
        message = "%s: %d boxes reach past the border of their image and are clipped, first at %s"
        logger.warning(message, source, len(clipped), clipped[0])
    return found


class _ClassNames(dict):
    """Names of classes by the spellings that boxes have; raises ValueError for another class."""

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
            self[box.name] = self.class_names[category]
        return self[box.name]


def _clean_boxes(image, names, clipped):
    for box in image.boxes:
        name = names.of(box)
        error = box_error(box.corners, image.width, image.height)
        if error:
            raise ValueError(f"{box.where}: {error}. Correct or remove this box.")
        if has_no_area(box.corners):
            text = format_box(box.corners)
            logger.warning("%s: box %s has no area and is dropped", box.where, text)
            continue
        if passes_border(box.corners, image.width, image.height):
            clipped.append(box.where)
        corners = tuple(clip(box.corners, image.width, image.height))
        yield replace(box, name=name, corners=corners)
