"""The formats that are read and written, and which of them a path holds."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from bccd.data.formats.coco_folder import is_coco, read_coco_folder, write_coco
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.files import list_files
from bccd.data.formats.voc_folder import IMAGES as VOC_IMAGES
from bccd.data.formats.voc_folder import is_voc, read_voc, write_voc
from bccd.data.formats.yolo_folder import is_yolo, read_yolo, write_yolo


class Format(NamedTuple):
    """One format of data sets.

    Attributes:
        title: its name for people.
        layout: what a folder of it holds.
        suffixes: of a file that describes a data set.
        is_in: (folder, files below it) whether they are of the format.
        read: AnnotatedDataset of a folder, and of a file in it that describes the data set.
        write: see :func:`.voc_folder.write_voc`.
        images: folder of the images in what ``write`` writes.
    """

    title: str
    layout: str
    suffixes: tuple[str, ...]
    is_in: Callable[[Path, Sequence[Path]], bool]
    read: Callable[..., AnnotatedDataset]
    write: Callable
    images: str = "images"


FORMATS = {
    "coco": Format(
        *("COCO", "a JSON file with images, annotations and categories", (".json",)),
        *(is_coco, read_coco_folder, write_coco),
    ),
    "voc": Format(
        *("Pascal VOC", "an XML file for each image", ()),
        *(is_voc, read_voc, write_voc, VOC_IMAGES),
    ),
    "yolo": Format(
        *("YOLO", "data.yaml or classes.txt, and a text file for each image", (".yaml", ".yml")),
        *(is_yolo, read_yolo, write_yolo),
    ),
}


def format_of(path: Path) -> str:
    """Name of the format that a folder or file holds.

    Raises:
        FileNotFoundError: there is no such path, or no annotation of any format in it.
        ValueError: there are annotations of several formats.
    """
    path = Path(path)
    if path.is_file():
        found = [name for name, form in FORMATS.items() if path.suffix.lower() in form.suffixes]
    elif path.is_dir():
        below = list_files(path, log_skipped=False)
        found = [name for name, form in FORMATS.items() if form.is_in(path, below)]
    else:
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    if len(found) > 1:
        titles = " and as ".join(FORMATS[name].title for name in found)
        raise ValueError(
            f"{path} holds annotations as {titles}. "
            f"Say which are meant: {' or '.join(f'{name}:{path}' for name in found)}"
        )
    if not found:
        expected = "; ".join(f"{form.title}: {form.layout}" for form in FORMATS.values())
        raise FileNotFoundError(
            f"{path} holds no annotations in a format that is read ({expected}). Name the folder "
            "that holds images and annotations, or export them in one of these formats."
        )
    return found[0]


def read_dataset(path: Path | str, form: str | None = None) -> AnnotatedDataset:
    """List a data set on disk.

    Args:
        path: folder, or the file that describes the data set (``annotations.json``,
            ``data.yaml``).
        form: a key of FORMATS; found out if None.

    Raises:
        FileNotFoundError, ValueError: as :func:`format_of`; the data set is empty, or it has files
            that would not be read.
    """
    path = Path(path)
    form = form or format_of(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such file or folder")
    if path.is_dir():
        dataset = FORMATS[form].read(path)
    elif FORMATS[form].suffixes:
        dataset = FORMATS[form].read(path.parent, path)
    else:
        raise ValueError(f"{path} is a file; as {FORMATS[form].title}, name the folder around it")
    if not (dataset.images or dataset.unannotated or dataset.unreadable):
        raise ValueError(f"{path} has neither an image nor an annotation. Add both.")
    return dataset
