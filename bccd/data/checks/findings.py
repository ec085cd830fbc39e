"""Checks of a data set: the problems that it has, by file and line."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccd.data.boxes import box_error, format_box, has_no_area, passes_border
from bccd.data.checks.near_duplicates import near_duplicates, thumbnail
from bccd.data.classes import class_key, find_class
from bccd.data.formats.annotated_image import AnnotatedImage
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.images.decoding import explain_turn, image_size

# Kinds of problem. A reader corrects or keeps the data of WARNINGS, and stops at ERRORS.
NO_AREA = "box without area"
PAST_BORDER = "box past the border"
DUPLICATE = "duplicate boxes"
NEAR_DUPLICATE = "near-duplicate images"
SPELLINGS = "several spellings of a class"
ABSENT = "part that is not there"
SIMPLIFIED = "read as less than it is"
UNREADABLE = "unreadable annotation"
UNKNOWN_CLASS = "unknown class"
BAD_BOX = "impossible box"
NO_IMAGE = "annotation or list entry without an image"
NO_ANNOTATION = "image without an annotation"
BAD_IMAGE = "unreadable image"
SIZE_MISMATCH = "size mismatch"
WARNINGS = (NO_AREA, PAST_BORDER, DUPLICATE, NEAR_DUPLICATE, SPELLINGS, ABSENT, SIMPLIFIED)
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
    """A problem of a data set.

    Attributes:
        kind: one of WARNINGS or ERRORS.
        file: relative to the folder of the data set.
        line: in the file; None where it has no lines.
        message: what is wrong.
    """

    kind: str
    file: str
    line: int | None
    message: str


def find_problems(
    dataset: AnnotatedDataset, class_names: Sequence[str] | None = None
) -> list[Problem]:
    """Check a data set; opens every image once.

    Args:
        dataset: as it is on disk.
        class_names: the only classes that boxes may have; None: any.

    Returns:
        The problems in the order of WARNINGS and ERRORS, then by file and line.
    """
    problems = [*_file_problems(dataset), *_class_problems(dataset), *_image_problems(dataset)]
    class_names = list(class_names or dataset.class_names)
    for image in dataset.images.values():
        problems += _box_problems(image, dataset.root, class_names)
    order = {kind: position for position, kind in enumerate(WARNINGS + ERRORS)}
    return sorted(problems, key=lambda found: (order[found.kind], found.file, found.line or 0))


def count_labels(images: Iterable[AnnotatedImage]) -> Counter:
    """Boxes by class as annotated, those without area included; unknown classes by their name."""
    return Counter(box.name for image in images for box in image.boxes)


def _file_problems(dataset):
    root = dataset.root
    for path, message in dataset.unreadable:
        yield _problem(root, UNREADABLE, path, message)
    for path, message in dataset.absent:
        yield _problem(root, ABSENT, path, message)
    for path, message in dataset.simplified:
        yield _problem(root, SIMPLIFIED, path, message)
    for path in dataset.unannotated:
        message = "no annotation names this image. Annotate it, or move it away"
        yield _problem(root, NO_ANNOTATION, path, message)
    for image in dataset.images.values():
        if not image.path.is_file():
            message = f"annotates {image.path.name}, which is missing"
            yield _problem(root, NO_IMAGE, image.source, message)
    paths = [*dataset.unannotated, *(path for path, _ in dataset.unreadable)]
    stems = {path.stem for path in paths}
    for split, listed in dataset.splits.items():
        for line, name in enumerate(listed, start=1):
            if name not in dataset.images and name.rpartition("/")[2] not in stems:
                message = f"lists {name}, of which there is neither image nor annotation"
                yield Problem(NO_IMAGE, f"ImageSets/Main/{split}.txt", line, message)


def _class_problems(dataset):
    """Spellings of one class: of the same kind of cell, or different in case and spaces alone."""
    spellings = {}
    for name in [*dataset.class_names, *count_labels(dataset.images.values())]:
        spellings.setdefault(class_key(name), set()).add(name.strip())
    for names in spellings.values():
        if len(names) > 1:
            yield Problem(SPELLINGS, ".", None, f"{', '.join(sorted(names))} are one class")


def _image_problems(dataset):
    thumbnails, names = [], []
    for name, image in dataset.images.items():
        if not image.path.is_file():
            continue
        try:
            size = image_size(image.path)
            thumbnails.append(thumbnail(image.path))
            names.append(name)
        except (OSError, ValueError) as error:
            yield _problem(dataset.root, BAD_IMAGE, image.path, str(error))
            continue
        if size != (image.width, image.height):
            message = (
                f"states {image.width}x{image.height}, but {image.path.name} has "
                f"{size[0]}x{size[1]} pixels"
                f"{explain_turn(image.path, image.width, image.height)}"
            )
            yield _problem(dataset.root, SIZE_MISMATCH, image.source, message)
    for i, j in near_duplicates(thumbnails):
        message = _split_message(names[i], names[j], dataset)
        yield _problem(dataset.root, NEAR_DUPLICATE, dataset.images[names[i]].path, message)


def _split_message(first, second, dataset):
    """What a pair of near-duplicates means for the splits: where it falls on two sides."""
    splits = dataset.splits
    here = sorted(s for s in splits if first in splits[s] and second not in splits[s])
    there = sorted(s for s in splits if second in splits[s] and first not in splits[s])
    message = f"shows the same field as {dataset.images[second].path.name}"
    if here and there:
        return (
            f"{message}, across splits: {first} in {', '.join(here)}; "
            f"{second} in {', '.join(there)}"
        )
    return f"{message}, in the same part of every split"


def _box_problems(image, root, class_names):
    if not image.width:  # the image is missing, which is an error of its own
        return
    usable = []
    for box in image.boxes:
        text = format_box(box.corners)
        error = box_error(box.corners, image.width, image.height)
        if find_class(box.name, class_names) is None:
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
    iou = _pairwise_iou(np.array([box.corners for box in boxes], dtype=float))
    classes = np.array([class_key(box.name) for box in boxes])
    same = np.triu((iou > DUPLICATE_IOU) & (classes[:, None] == classes), k=1)
    for i, j in np.argwhere(same):
        first, second = boxes[i], boxes[j]
        place = f"line {first.line}" if first.line else first.where
        message = (
            f"{second.name} {format_box(second.corners)} overlaps the one at {place} "
            f"by IoU {iou[i, j]:.2f}"
        )
        yield _problem(root, DUPLICATE, image.source, message, second)


def _pairwise_iou(boxes):
    """IoU (N, N) of boxes (N, 4). (Not torchvision's: checking needs no PyTorch.)"""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    with np.errstate(over="ignore", invalid="ignore"):  # of boxes far past the border
        shared = (high - low).clip(min=0).prod(axis=2)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        return shared / (areas[:, None] + areas[None, :] - shared)


def _problem(root, kind, path, message, box=None):
    path = Path(path)
    if path.is_relative_to(root):  # an absolute file name in COCO JSON need not be
        path = path.relative_to(root)
    file = path.as_posix()
    return Problem(kind, file, box.line if box else None, message)
