"""The formats that are read and written, and which of them a path holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bccd.data.formats import cvat, fiftyone, imagej, label_studio, labelme, qupath, via
from bccd.data.formats.coco_folder import (
    describes_coco,
    describes_roboflow,
    is_coco,
    is_roboflow,
    read_coco_folder,
    read_roboflow,
    write_coco,
    write_roboflow,
)
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.files import list_files
from bccd.data.formats.voc_folder import IMAGES as VOC_IMAGES
from bccd.data.formats.voc_folder import is_voc, read_voc, write_voc
from bccd.data.formats.writing import Writing
from bccd.data.formats.yolo_folder import describes_yolo, is_yolo, read_yolo, write_yolo

# Which lists of images a format holds: any; one for each image; train, val and test alone.
ANY_PARTS, ONE_PART, USUAL_PARTS = "any", "one for each image", "train, val and test"


@dataclass(frozen=True)
class Format:
    """One format of data sets.

    Attributes:
        title: its name for people.
        layout: what a folder of it holds.
        is_in: (folder, files below it) whether they are of the format.
        describes: whether a file is one that describes a data set; None: there is no such file.
        read: AnnotatedDataset of a folder, and of a file in it that describes the data set.
        write: writes a :class:`.writing.Writing`.
        images: folder of the images in what ``write`` writes; empty: they are beside their
            annotations.
        by_part: ``write`` puts each part into a folder of its own.
        scores: its files hold the scores of boxes.
        classes: its files list classes of which there is no box.
        crowds: its files tell a region of several cells (``iscrowd``) from a cell.
        parts: which lists of images its files hold.
        turns: the program turns images by their EXIF orientation, as this project does.
        precision: how exactly corners are kept, in words.
        recorded: libraries that wrote the files that tests read; see tests/data/recorded/.
    """

    title: str
    layout: str
    is_in: Callable[[Path, Sequence[Path]], bool]
    describes: Callable[[Path], bool] | None
    read: Callable[..., AnnotatedDataset]
    write: Callable[[Writing], None]
    images: str = "images"
    by_part: bool = False
    scores: bool = True
    classes: bool = False
    crowds: bool = False
    parts: str = ONE_PART
    turns: bool = True
    precision: str = "exact"
    recorded: tuple[str, ...] = ()


FORMATS = {
    "coco": Format(
        *("COCO", "a JSON file with images, annotations and categories"),
        *(is_coco, describes_coco, read_coco_folder, write_coco),
        **{"classes": True, "crowds": True, "parts": ANY_PARTS},
        recorded=("label-studio-sdk", "datumaro", "supervision"),
    ),
    "voc": Format(
        *("Pascal VOC", "an XML file for each image"),
        *(is_voc, None, read_voc, write_voc, VOC_IMAGES),
        **{"scores": False, "parts": ANY_PARTS, "precision": "12 digits"},
        recorded=("label-studio-sdk", "datumaro", "supervision"),
    ),
    "yolo": Format(
        *("YOLO", "data.yaml or classes.txt, and a text file for each image"),
        *(is_yolo, describes_yolo, read_yolo, write_yolo),
        **{"scores": False, "classes": True, "parts": ANY_PARTS},
        precision="12 decimals of a side",
        recorded=("label-studio-sdk", "datumaro", "supervision"),
    ),
    "roboflow": Format(
        *("Roboflow", "_annotations.coco.json in the folder of each part"),
        *(is_roboflow, describes_roboflow, read_roboflow, write_roboflow),
        **{"images": "train", "by_part": True, "classes": True, "crowds": True},
    ),
    "cvat": Format(
        *("CVAT", "annotations.xml of CVAT for images 1.1"),
        *(cvat.is_cvat, cvat.describes, cvat.read_cvat, cvat.write_cvat),
        classes=True,
        recorded=("datumaro",),
    ),
    "labelstudio": Format(
        *("Label Studio", "a JSON file of tasks"),
        *(label_studio.is_label_studio, label_studio.describes),
        *(label_studio.read_label_studio, label_studio.write_label_studio),
        classes=True,
        recorded=("label-studio-sdk",),
    ),
    "labelme": Format(
        *("LabelMe", "a JSON file of shapes for each image"),
        *(labelme.is_labelme, labelme.describes, labelme.read_labelme, labelme.write_labelme, ""),
        **{"by_part": True, "parts": USUAL_PARTS},
        recorded=("labelme", "supervision"),
    ),
    "via": Format(
        *("VIA", "a project of VGG Image Annotator 2, or its JSON or CSV"),
        *(via.is_via, via.describes, via.read_via, via.write_via),
        classes=True,
    ),
    "qupath": Format(
        *("QuPath", "a GeoJSON file of objects for each image"),
        *(qupath.is_qupath, qupath.describes, qupath.read_qupath, qupath.write_qupath, ""),
        **{"by_part": True, "parts": USUAL_PARTS, "turns": False},
    ),
    "imagej": Format(
        *("ImageJ", "a zip archive of ROIs for each image"),
        *(imagej.is_imagej, imagej.describes, imagej.read_imagej, imagej.write_imagej, ""),
        **{"by_part": True, "parts": USUAL_PARTS, "turns": False, "precision": "32-bit floats"},
        recorded=("roifile",),
    ),
    "fiftyone": Format(
        *("FiftyOne", "metadata.json, samples.json and data/"),
        *(fiftyone.is_fiftyone, fiftyone.describes),
        *(fiftyone.read_fiftyone, fiftyone.write_fiftyone, fiftyone.IMAGES),
        **{"classes": True, "parts": USUAL_PARTS},
        recorded=("fiftyone",),
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
        found = [name for name, form in FORMATS.items() if form.describes and form.describes(path)]
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
    elif FORMATS[form].describes:
        dataset = FORMATS[form].read(path.parent, path)
    else:
        raise ValueError(f"{path} is a file; as {FORMATS[form].title}, name the folder around it")
    if not (dataset.images or dataset.unannotated or dataset.unreadable):
        raise ValueError(f"{path} has neither an image nor an annotation. Add both.")
    return dataset
