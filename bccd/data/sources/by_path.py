"""Data sets named by format and path, such as ``coco:annotations.json:images/``.

``coco:FILE.json:IMAGES``, ``coco:FOLDER``  COCO JSON; IMAGES is what its file names start from
``voc:FOLDER``                              Pascal VOC XML files and images
``yolo:data.yaml``, ``yolo:FOLDER``         YOLO label files and images
``cvat:annotations.xml``, ``cvat:FOLDER``   and so on: every format of :mod:`bccd.data.formats`

``#PART`` behind any of them is one part: ``train``, ``val``, ``test``, or a list's name.
Relative paths start from the working directory.
"""

import difflib
import hashlib
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bccd.data.bccd_classes import in_bccd_order
from bccd.data.formats.annotated_image import AnnotatedImage, to_records
from bccd.data.formats.coco_folder import read_coco_folder
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.registry import FORMATS, read_dataset

_LONGEST = 80  # characters of a folder's name; file systems allow 255 bytes


class PathName(NamedTuple):
    """The parts of a data set's name.

    Attributes:
        form: a key of FORMATS.
        path: folder, or file that describes the data set.
        images: folder of the images, for COCO; None: searched.
        part: of the data set; None: all of it.
    """

    form: str
    path: Path
    images: Path | None = None
    part: str | None = None


def parse_name(name: str) -> PathName | None:
    """The parts of a name by format and path; None where it is none."""
    form, colon, rest = name.partition(":")
    if not colon or form not in FORMATS:
        return None
    part = None
    if not Path(rest).exists() and (found := re.fullmatch(r"(.+)#([^#/\\]+)", rest)):
        rest, part = found.groups()
    images = None
    if form == "coco" and not Path(rest).exists() and (found := re.fullmatch(r"(.+?):(.+)", rest)):
        rest, images = found[1], Path(found[2])
    return PathName(form, Path(rest), images, part)


def open_named(name: str) -> tuple[AnnotatedDataset, str | None]:
    """The data set of a name by format and path, listed file by file, and its part.

    Raises:
        FileNotFoundError, ValueError: as :func:`bccd.data.formats.registry.read_dataset`; ``name``
            has another form.
    """
    parsed = parse_name(name)
    if parsed is None:
        raise ValueError(f"{name}: expected FORMAT:PATH; formats: {', '.join(FORMATS)}")
    if parsed.images is None:
        return read_dataset(parsed.path, parsed.form), parsed.part
    if not parsed.images.is_dir():
        raise FileNotFoundError(f"{name}: there is no folder {parsed.images}")
    return read_coco_folder(parsed.path.parent, parsed.path, parsed.images), parsed.part


def ensure_registered(name: str) -> bool:
    """Register a data set that is named by format and path, once in a process.

    Its classes are read from its files now, and everything again by ``DatasetCatalog.get``.

    Returns:
        whether ``name`` is in DatasetCatalog now.

    Raises:
        FileNotFoundError, ValueError: ``name`` names a path whose data cannot be used.
    """
    from detectron2.data import DatasetCatalog, MetadataCatalog  # listing files runs without it

    if name in DatasetCatalog:
        return True
    if parse_name(name) is None:
        return False
    dataset, part = open_named(name)
    _usable_images(dataset, part)
    class_names = in_bccd_order(dataset.class_names)
    DatasetCatalog.register(name, partial(_load, name, class_names))
    MetadataCatalog.get(name).set(
        thing_classes=list(class_names),
        thing_dataset_id_to_contiguous_id={i + 1: i for i in range(len(class_names))},
        evaluator_type="coco",
    )
    return True


def require_registered(name: str) -> None:
    """As :func:`ensure_registered`, with ValueError where there is no such data set."""
    from detectron2.data import DatasetCatalog

    from bccd.data.sources.built_in import BUILT_IN

    if not ensure_registered(name):
        known = [each for each in DatasetCatalog if each not in BUILT_IN]
        similar = difflib.get_close_matches(name, known, cutoff=0)
        raise ValueError(
            f"no dataset {name} is registered; similar names are {', '.join(similar)}. Own data is "
            f"named by format and path ({', '.join(f'{form}:PATH' for form in FORMATS)}), or by a "
            "module that registers it (DATASETS.IMPORT, $BCCD_IMPORT)"
        )


def _load(name, class_names):
    dataset, part = open_named(name)
    return to_records(_usable_images(dataset, part), name, class_names)


def _usable_images(dataset: AnnotatedDataset, part: str | None) -> list[AnnotatedImage]:
    """Images of a part; an error where annotations or, for the whole, images would be left out."""
    dataset.raise_unreadable()
    if part is None and dataset.unannotated:
        raise ValueError(
            f"{dataset.root}: {len(dataset.unannotated)} images have no annotation, the first is "
            f"{dataset.unannotated[0]}. Annotate them, without objects where they show no cell, or "
            "move them away; `bccd check` lists all."
        )
    return dataset.select(part)


def folder_name(name: str) -> str:
    """A data set's name as the name of one folder: without separators, and not too long."""
    plain = re.sub(r"[^\w.#-]+", "_", name).strip("_")
    if len(plain) <= _LONGEST:
        return plain
    return f"{plain[-_LONGEST:].strip('_')}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
