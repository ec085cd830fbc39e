"""Folders of Pascal VOC XML files: BCCD's own, labelImg's, Label Studio's, CVAT's, Roboflow's."""

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedImage, to_records
from bccd.data.formats.dataset import AnnotatedDataset, unique_classes
from bccd.data.formats.text_content import read_text
from bccd.data.formats.voc import read_annotation, to_voc_xml
from bccd.data.formats.writing import Writing
from bccd.data.formats.xml_content import root_tag
from bccd.data.images.image_source import IMAGE_SUFFIXES

ANNOTATIONS, IMAGES = "Annotations", "JPEGImages"
_OTHER_ROOTS = ("annotations", "View")  # of CVAT, and of Label Studio's labelling configuration


def is_voc(root: Path, below: Sequence[Path]) -> bool:
    """Whether XML files, or the folder of them, are in ``root``, which has the files ``below``."""
    found = files.with_suffix(below, (".xml",))
    return (root / ANNOTATIONS).is_dir() or any(
        root_tag(path) not in _OTHER_ROOTS for path in found
    )


def load_voc(
    root: Path | str, class_names: Sequence[str], image_ids: Sequence[str] | None = None
) -> list[dict]:
    """Read a folder of VOC XML files into Detectron2 records.

    Sizes are those of the XML: an image is opened only where the XML states none.

    Args:
        root: folder; ``Annotations`` and ``JPEGImages``, or images beside their XML files.
        class_names: classes by their ids.
        image_ids: names to read, in this order, as ``ImageSets/Main`` has them; all of the folder,
            sorted, if None.

    Returns:
        list[dict] as :func:`.annotated_image.to_records` returns; ``image_id`` is the number
        at the end of the name.

    Raises:
        FileNotFoundError: the folder, an image or an XML file is missing.
        ValueError: an XML file, a class or a box cannot be used; the message names file and line.
    """
    folder = VocFolder(root)
    if image_ids is None:
        image_ids = folder.names
    numbers = image_numbers(image_ids)
    return to_records((folder.read(name, numbers[name]) for name in image_ids), root, class_names)


def read_voc(root: Path) -> AnnotatedDataset:
    """List a folder of VOC XML files; its classes are those of its boxes.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: two images have one name.
    """
    folder = VocFolder(root)
    dataset = AnnotatedDataset(Path(root), "voc")
    numbers = image_numbers(folder.names)
    for name, path in folder.annotations.items():
        try:
            dataset.images[name] = folder.read(name, numbers[name])
        except ValueError as error:
            dataset.unreadable.append((path, str(error)))
    annotated = {image.path for image in dataset.images.values()}
    annotated |= {folder.images.get(name) for name in folder.annotations}
    dataset.unannotated = [path for path in folder.images.values() if path not in annotated]
    names = {box.name for image in dataset.images.values() for box in image.boxes}
    dataset.class_names = unique_classes(sorted(names))
    dataset.splits = _read_lists(folder) or files.parts_by_folder(folder.annotations)
    return dataset


class VocFolder:
    """Images and XML files of a folder by their names.

    Attributes:
        folder: what the names start from.
        annotations, images: name to path.
    """

    def __init__(self, root: Path | str) -> None:
        """Raises FileNotFoundError where there is no such folder."""
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is not there. Name the folder of the XML files.")
        found = files.list_files(root)
        pictures, annotations = files.images_of(found), files.with_suffix(found, (".xml",))
        self.folder = files.common_folder([*pictures, *annotations], root)
        self.annotations = files.by_name(annotations, self.folder)
        self.images = files.by_name(pictures, self.folder)
        self._stems = {}
        for path in pictures:
            self._stems.setdefault(path.stem, []).append(path)
        self._find = files.ImageFinder([self.folder], pictures)

    @property
    def names(self) -> list[str]:
        """Names of all images and XML files, sorted."""
        return sorted(self.images.keys() | self.annotations.keys())

    def read(self, name: str, image_id: int) -> AnnotatedImage:
        """The image of a name; raises as :func:`.voc.read_annotation`."""
        path = self.annotations.get(name)
        if path is None:
            path = _beside(self.images.get(name, self.folder / IMAGES / name), ANNOTATIONS, ".xml")
        return read_annotation(path, partial(self._image, name, path), image_id)

    def _image(self, name, path, stated):
        """The image of an XML file: of the same name, else the one called by its <filename>."""
        image = self.images.get(name)
        if image is None and len(self._stems.get(path.stem, ())) == 1:
            (image,) = self._stems[path.stem]
        if image is None:
            return self._by_file_name(path, stated)
        other = image.with_name(Path(stated.replace("\\", "/")).name or image.name)
        if other.suffix.lower() in IMAGE_SUFFIXES and other.stem != image.stem and other.is_file():
            raise ValueError(
                f"{path}: its <filename> is {other.name}, which is beside {image.name}, the image "
                "of its own name. Correct <filename>, or rename the XML file."
            )
        return image

    def _by_file_name(self, path, stated):
        expected = _beside(path, IMAGES, ".jpg")
        if not stated:
            return expected
        names = [stated]
        if Path(stated).suffix.lower() not in IMAGE_SUFFIXES:
            names = [stated + suffix for suffix in IMAGE_SUFFIXES]
        found = (self._find(name) for name in names)
        return next((image for image in found if image.is_file()), expected)


def _beside(path, room, suffix):
    """Where the counterpart of a file belongs: in the folder ``room``, or beside it."""
    parts = list(path.with_name(path.stem + suffix).parts)
    for i, part in enumerate(parts[:-1]):
        if part in (ANNOTATIONS, IMAGES):
            parts[i] = room
    return Path(*parts)


def image_numbers(names: Sequence[str]) -> dict[str, int]:
    """Integer image id per name: the number at its end (37 for BloodImage_00037).

    Where a name ends in no number, or two in the same, all are numbered from 1 in their order.
    """
    found = {name: re.search(r"\d+$", name) for name in names}
    if all(found.values()):
        numbers = {name: int(match.group()) for name, match in found.items()}
        if len(set(numbers.values())) == len(numbers):
            return numbers
    return {name: position for position, name in enumerate(found, start=1)}


def _read_lists(folder):
    """Name to image names of each list in ImageSets/Main that is a split."""
    known = folder.images.keys() | folder.annotations.keys()
    splits = {}
    for path in sorted((folder.folder / "ImageSets" / "Main").glob("[!.]*.txt")):
        names = _read_list(path, known)
        if names is not None:
            splits[path.stem] = names
    return splits


def _read_list(path, known):
    """Names that a list in ImageSets/Main has, a line each; None for a list of one class.

    The lists of a class name all images, with 1, 0 or -1 behind each for whether it shows the
    class: they are no split.
    """
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line.replace("\\", "/") for line in lines if line]
    flagged = [re.fullmatch(r"(.*\S)\s+(?:-1|0|1)", line) for line in lines]
    if lines and all(flagged) and not known.issuperset(lines):
        return None
    return [_without_suffix(line) if line not in known else line for line in lines]


def _without_suffix(name):
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def write_voc(writing: Writing) -> None:
    """Write an XML file for each image in ``Annotations/``, and ``ImageSets/Main/<part>.txt``."""
    for name, image in writing.images.items():
        writing.put(f"{ANNOTATIONS}/{name}.xml", to_voc_xml(image))
    for part, names in writing.parts().items():
        writing.put(f"ImageSets/Main/{part}.txt", "".join(f"{name}\n" for name in names))
