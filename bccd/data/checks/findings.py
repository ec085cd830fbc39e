"""Checks on a data set: everything that is wrong with it, by file and line."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchvision.ops import box_iou

from bccd.data.boxes import box_error, format_box, has_no_area, passes_border
from bccd.data.checks.near_duplicates import near_duplicates, thumbnail
from bccd.data.images.decoding import explain_turn, image_size
from bccd.data.sources.bccd_classes import class_id

# Kinds of problem. The readers mend the first group or leave it as it is; at the second they stop.
NO_AREA = "box without area"
PAST_BORDER = "box past the border"
DUPLICATE = "duplicate boxes"
NEAR_DUPLICATE = "near-duplicate images"
UNREADABLE = "unreadable annotation"
UNKNOWN_CLASS = "unknown class"
BAD_BOX = "impossible box"
NO_IMAGE = "annotation or list entry without an image"
NO_ANNOTATION = "image without an annotation"
BAD_IMAGE = "unreadable image"
SIZE_MISMATCH = "size mismatch"
WARNINGS = (NO_AREA, PAST_BORDER, DUPLICATE, NEAR_DUPLICATE)
ERRORS = (
    UNREADABLE,
    UNKNOWN_CLASS,
    BAD_BOX,
    NO_IMAGE,
    NO_ANNOTATION,
    BAD_IMAGE,
    SIZE_MISMATCH,
)

DUPLICATE_IOU = 0.8


@dataclass(frozen=True)
class Problem:
    """Something wrong: its kind, the file, the line in it (None where it has none), and the facts.

    ``file`` is relative to the data set's folder.
    """

    kind: str
    file: str
    line: int | None
    message: str


def find_problems(tree):
    """Check a data set; opens every image once.

    Args:
        tree: :class:`bccd.data.formats.tree.Tree`.

    Returns:
        list[Problem], in the order of the kinds above, then by file and line.
    """
    problems = [*_file_problems(tree), *_image_problems(tree)]
    for image in tree.images:
        problems += _box_problems(image, tree.root)
    order = {kind: position for position, kind in enumerate(WARNINGS + ERRORS)}
    return sorted(problems, key=lambda found: (order[found.kind], found.file, found.line or 0))


def count_labels(images):
    """Boxes by class as annotated, those without area included; unknown classes by their name.

    Args:
        images: iterable of :class:`bccd.data.formats.annotated_image.AnnotatedImage`.
    """
    return Counter(box.name for image in images for box in image.boxes)


def _file_problems(tree):
    for path, message in tree.unreadable:
        yield _problem(tree.root, UNREADABLE, path, message)
    for path in tree.unannotated:
        yield _problem(tree.root, NO_ANNOTATION, path, "no annotation names this image")
    for image in tree.images:
        if not image.path.is_file():
            message = f"annotates {image.path.name}, which is missing"
            yield _problem(tree.root, NO_IMAGE, image.source, message)
    stems = {image.path.stem for image in tree.images}
    stems |= {path.stem for path in tree.unannotated}
    stems |= {path.stem for path, _ in tree.unreadable}
    for split, listed in tree.splits.items():
        for line, stem in enumerate(listed, start=1):
            if stem not in stems:
                message = f"lists {stem}, of which there is neither image nor annotation"
                yield Problem(NO_IMAGE, f"ImageSets/Main/{split}.txt", line, message)


def _image_problems(tree):
    thumbnails, names = [], []
    for image in tree.images:
        if not image.path.is_file():
            continue
        try:
            size = image_size(image.path)
            thumbnails.append(thumbnail(image.path))
            names.append(image.path)
        except (OSError, ValueError) as error:
            yield _problem(tree.root, BAD_IMAGE, image.path, str(error))
            continue
        if size != (image.width, image.height):
            message = (
                f"states {image.width}x{image.height}, but {image.path.name} has "
                f"{size[0]}x{size[1]} pixels"
                f"{explain_turn(image.path, image.width, image.height)}"
            )
            yield _problem(tree.root, SIZE_MISMATCH, image.source, message)
    for i, j in near_duplicates(thumbnails):
        message = _split_message(names[i], names[j], tree.splits)
        yield _problem(tree.root, NEAR_DUPLICATE, names[i], message)


def _split_message(first, second, splits):
    """What a pair of near-duplicates means for the splits: where it falls on two sides."""
    here = sorted(s for s in splits if first.stem in splits[s] and second.stem not in splits[s])
    there = sorted(s for s in splits if second.stem in splits[s] and first.stem not in splits[s])
    message = f"shows the same field as {second.name}"
    if here and there:
        return (
            f"{message}, across splits: {first.stem} in {', '.join(here)}; "
            f"{second.stem} in {', '.join(there)}"
        )
    return f"{message}, in the same part of every split"


def _box_problems(image, root):
    usable = []
    for box in image.boxes:
        text = format_box(box.corners)
        error = box_error(box.corners, image.width, image.height)
        if class_id(box.name) is None:
            yield _problem(root, UNKNOWN_CLASS, image.source, f"class {box.name!r}", box)
        elif error:
            yield _problem(root, BAD_BOX, image.source, error, box)
        elif has_no_area(box.corners):
            yield _problem(root, NO_AREA, image.source, f"{box.name} {text}", box)
        else:
            usable.append(box)
            if passes_border(box.corners, image.width, image.height):
                message = f"{box.name} {text} in an image of {image.width}x{image.height}"
                yield _problem(root, PAST_BORDER, image.source, message, box)
    yield from _duplicate_boxes(usable, image, root)


def _duplicate_boxes(boxes, image, root):
    if len(boxes) < 2:
        return
    corners = torch.tensor([box.corners for box in boxes], dtype=torch.float64)
    iou = box_iou(corners, corners).numpy()
    classes = np.array([class_id(box.name) for box in boxes])
    same = np.triu((iou > DUPLICATE_IOU) & (classes[:, None] == classes), k=1)
    for i, j in np.argwhere(same):
        first, second = boxes[i], boxes[j]
        place = f"line {first.line}" if first.line else first.where
        message = (
            f"{second.name} {format_box(second.corners)} overlaps the one at {place} "
            f"by IoU {iou[i, j]:.2f}"
        )
        yield _problem(root, DUPLICATE, image.source, message, second)


def _problem(root, kind, path, message, box=None):
    path = Path(path)
    if path.is_relative_to(root):  # an absolute file name in COCO JSON need not be
        path = path.relative_to(root)
    file = path.as_posix()
    return Problem(kind, file, box.line if box else None, message)
