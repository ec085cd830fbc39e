"""Corrected fields: images with the cells that a person has marked in them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccd.counting.detection_files import JSON_NAME
from bccd.data.boxes import box_error, clip, has_no_area
from bccd.data.checks.near_duplicates import group_fields
from bccd.data.classes import find_class
from bccd.data.formats.annotated_image import AnnotatedImage
from bccd.data.formats.coco import images_folder, read_coco
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.files import ImageFinder, images_of, list_files
from bccd.data.formats.json_kinds import COCO, kind_of
from bccd.data.formats.registry import FORMATS
from bccd.data.images.decoding import read_bgr
from bccd.data.images.image_source import ImageSource
from bccd.data.images.own_pictures import is_marked
from bccd.data.sources.opening import open_dataset

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CorrectedField:
    """An image with its marked cells.

    Attributes:
        name: in its data set.
        annotated: the image as its file describes it.
        boxes: (M, 4) XYXY in pixels.
        classes: (M,) by the classes of the model.
        group: the same number of fields that show the same place.
    """

    name: str
    annotated: AnnotatedImage
    boxes: np.ndarray
    classes: np.ndarray
    group: int

    def read(self) -> np.ndarray:
        """The image, uint8 BGR (H, W, 3).

        Raises:
            OSError, ValueError: it cannot be read, or has another size than is stated.
        """
        image = read_bgr(ImageSource.parse(self.annotated.path))
        stated = self.annotated.height, self.annotated.width
        if image.shape[:2] != stated:
            raise ValueError(
                f"{self.annotated.path} has {image.shape[1]} x {image.shape[0]} pixels, but "
                f"{self.annotated.source} was made for {stated[1]} x {stated[0]}. Use the images "
                "that were corrected."
            )
        return image


def open_corrected(data: str, images: str | None) -> AnnotatedDataset:
    """The data set that a person names.

    Args:
        data: the output folder of ``bccd count`` whose ``detections.json`` was corrected, or that
            file; or any data set, as :func:`bccd.data.sources.opening.open_dataset` takes it.
        images: folder that the names in a COCO file start from; None: as the run of ``bccd count``
            left it in the file, or else near the file.

    Raises:
        FileNotFoundError, ValueError: there is no such data, or it cannot be read.
    """
    path = Path(data)
    file = path / JSON_NAME if (path / JSON_NAME).is_file() else path
    is_file = file.is_file() and file.suffix.lower() == ".json" and kind_of(file) in (COCO, None)
    if images and not is_file:
        raise ValueError(f"--images is for a COCO file, or a folder with {JSON_NAME}; not {data}")
    if is_file:
        return _open_coco(file, images)
    with open_dataset(data, archives=False) as dataset:
        dataset.raise_unreadable()
    if dataset.unannotated:
        logger.info(
            f"{len(dataset.unannotated)} images are not annotated and not used, such as "
            f"{dataset.unannotated[0]}"
        )
    return dataset


def _open_coco(file, images):
    folder = _images_folder(file, images)
    content = read_coco(file, _finder(folder))
    named = {_name(image, folder): image for image in content.images}
    return AnnotatedDataset(file.parent, "coco", content.class_names, named)


def _images_folder(file, images):
    if images is not None:
        if not Path(images).is_dir():
            raise FileNotFoundError(f"--images {images}: there is no such folder")
        return Path(images)
    return images_folder(file) or file.parent


def _finder(folder: Path) -> Callable[[str], Path]:
    """Finds an image below ``folder``, or the page of one, by the name in a file."""
    below = images_of(list_files(folder)) if folder.is_dir() else []
    find = ImageFinder([folder], [path for path in below if not _is_drawn(path)])

    def find_page(name: str) -> Path:
        path = find(name)
        if path.is_file():
            return path
        page = ImageSource.parse(name)
        found = find(str(page.path))
        return found.with_name(f"{found.name}{page.page_suffix}")

    return find_page


def _name(image, folder):
    path = image.path
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _is_drawn(path):
    return path.suffix.lower() == ".png" and is_marked(path)


def corrected_fields(
    dataset: AnnotatedDataset, class_names: Sequence[str]
) -> tuple[list[CorrectedField], list[str]]:
    """The fields of a data set that can be used, and why others cannot.

    Args:
        dataset: of :func:`open_corrected`.
        class_names: of the model.

    Raises:
        FileNotFoundError: an image is missing.
        ValueError: the data set has other classes, or a box is impossible.
    """
    _check_classes(dataset, class_names)
    usable, left_out = {}, []
    for name, image in dataset.images.items():
        source = ImageSource.parse(image.path)
        if not source.path.is_file():
            raise FileNotFoundError(
                f"{source.path} is missing, which {image.source} names. Name the folder of the "
                "images with --images FOLDER."
            )
        if _is_drawn(source.path):
            raise ValueError(
                f"{source.path} is a picture that this project drew, not the image that was "
                "counted. Name the folder of the images with --images FOLDER."
            )
        if crowds := sum(bool(box.iscrowd) for box in image.boxes):
            left_out.append(f"{name}: {crowds} regions of several cells (iscrowd) are no counts")
        else:
            usable[name] = image
    groups = _groups(usable)
    return [_field(name, image, class_names, groups) for name, image in usable.items()], left_out


def _groups(images):
    """Number of the group of each image; pages of files are each a field of its own."""
    whole = {name: image for name, image in images.items() if image.path.is_file()}
    groups = group_fields(whole) + [[name] for name in images if name not in whole]
    return {name: number for number, group in enumerate(groups) for name in group}


def _check_classes(dataset, class_names):
    boxes = [box.name for image in dataset.images.values() for box in image.boxes]
    names = dict.fromkeys([*dataset.class_names, *boxes])
    known = {find_class(name, class_names) for name in names}
    lists_all = FORMATS[dataset.format].classes  # others name the classes of their boxes alone
    if None in known or (lists_all and len(known) < len(class_names)):
        raise ValueError(
            f"{dataset.root} has the classes {', '.join(names) or 'none'}; the model has "
            f"{', '.join(class_names)}. Rename the classes, or train a model on yours with "
            "bccd train-on."
        )


def annotated_classes(dataset: AnnotatedDataset, class_names: Sequence[str]) -> np.ndarray:
    """Which classes of the model (K,) the data set names; of others nothing is known."""
    known = {find_class(name, class_names) for name in dataset.class_names}
    return np.array([k in known for k in range(len(class_names))])


def _field(name, image, class_names, groups):
    boxes, classes = [], []
    for box in image.boxes:
        if error := box_error(box.corners, image.width, image.height):
            raise ValueError(f"{box.where}: {error}. Correct or remove this box.")
        if has_no_area(box.corners):
            raise ValueError(f"{box.where}: its box has no area. Correct or remove it.")
        boxes.append(clip(box.corners, image.width, image.height))
        classes.append(find_class(box.name, class_names))
    boxes = np.array(boxes, dtype=float).reshape(-1, 4)
    return CorrectedField(name, image, boxes, np.array(classes, dtype=int), groups[name])
