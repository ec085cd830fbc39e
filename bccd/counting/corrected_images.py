"""Images and counts in what another program made of a run's cells, in any format but COCO."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from bccd.counting.area import CountedArea
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.files import without_upload_prefix
from bccd.data.sources.opening import open_dataset

NOT_ANNOTATED = "not annotated"

logger = logging.getLogger(__name__)


class CountedImage(NamedTuple):
    """An image of a file of cells.

    Attributes:
        name: its ``file_name``.
        status: why it is not counted; None: it is.
        counts: {class name: int}.
        notes: sentences.
        scale: diameter of red cells in pixels, and its source; None: not stated.
        area: see ``CountedArea``; None: not stated.
        is_slide: it is no field.
    """

    name: str
    status: str | None
    counts: dict
    notes: list
    scale: tuple | None
    area: CountedArea | None
    is_slide: bool = False


def read_any(name: str) -> tuple[list[str], list[CountedImage]]:
    """Class names and images of a data set as :func:`bccd.data.sources.opening.open_dataset` opens.

    Images need not be there: cells are counted without them.

    Raises:
        FileNotFoundError, ValueError: there is none, or something in it cannot be read.
    """
    with open_dataset(name) as dataset:
        dataset.raise_unreadable()
        for path, message in dataset.simplified:
            logger.warning("%s: %s", path, message)
        images = [_counted(image, dataset.root) for image in dataset.images.values()]
        images += [
            CountedImage(_relative(path, dataset.root), NOT_ANNOTATED, {}, [], None, None)
            for path in dataset.unannotated
        ]
        return list(dataset.class_names), images


def _counted(image: AnnotatedImage, root: Path) -> CountedImage:
    check_areas(image.boxes)
    counts, notes = count_cells(image.boxes)
    area = CountedArea(image.width * image.height, None) if image.width else None
    return CountedImage(_relative(image.path, root), None, counts, notes, None, area)


def check_areas(boxes: Iterable[AnnotatedBox]) -> None:
    """Raise ValueError for a box without an area."""
    for box in boxes:
        x0, y0, x1, y1 = box.corners
        if not (x1 > x0 and y1 > y0):  # NaN has none either
            raise ValueError(f"{box.where}: its box has no area. Correct or remove it.")


def count_cells(boxes: Sequence[AnnotatedBox]) -> tuple[Counter, list[str]]:
    """Boxes by class, and a note where some are regions of several cells."""
    counts = Counter(box.name for box in boxes if not box.iscrowd)
    crowds = sum(bool(box.iscrowd) for box in boxes)
    return counts, (
        [f"{crowds} regions of several cells (iscrowd) are not counted"] if crowds else []
    )


def _relative(path, root):
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def find_name(name: str, known: Sequence[str]) -> str | None:
    """The one of ``known`` names of images that another program means by ``name``.

    Programs change the folders in front, leave the suffix out, or put a hash in front of the file
    name. None: there is no such name, or there are several.
    """
    if name in known:
        return name
    plain = PurePosixPath(name.replace("\\", "/"))
    spellings = (plain, plain.with_name(without_upload_prefix(plain.name) or plain.name))
    for path in dict.fromkeys(spellings):
        for same in (_same_end, _same_file_name, _same_stem):
            found = [each for each in known if same(PurePosixPath(each), path)]
            if len(found) == 1:
                return found[0]
            if found:
                break
    return None


def _same_end(path, other):
    shorter = min(len(path.parts), len(other.parts))
    return path.parts[-shorter:] == other.parts[-shorter:]


def _same_file_name(path, other):
    return path.name == other.name


def _same_stem(path, other):
    return path.stem == other.stem or path.stem == other.name
