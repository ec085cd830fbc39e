"""Folders of COCO JSON files and images: CVAT's, Label Studio's, Roboflow's, COCO's own."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from bccd.data.formats import files
from bccd.data.formats.coco import images_folder, read_coco, to_coco_json
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.json_kinds import COCO, kind_of
from bccd.data.formats.listing import Listing
from bccd.data.formats.writing import Writing

# Where Roboflow, and Kaggle's copies of its exports, keep the annotations of each part.
ROBOFLOW_PARTS = ("train", "valid", "test")
ROBOFLOW_FILE = "_annotations.coco.json"

# COCO calls its files instances_train2017.json, CVAT instances_default.json.
_SPLIT_OF_FILE = re.compile(r"(?:instances_)?(.+?)(?:20\d\d)?", re.DOTALL)


def is_coco(root: Path, below: Sequence[Path]) -> bool:
    """Whether a COCO JSON file, and none of Roboflow's, is among the files ``below`` a folder."""
    return not is_roboflow(root, below) and any(kind_of(path) == COCO for path in below)


def is_roboflow(root: Path, below: Sequence[Path]) -> bool:
    """Whether a COCO JSON file of Roboflow is among the files ``below`` a folder."""
    return any(map(describes_roboflow, below))


def describes_coco(path: Path) -> bool:
    """Whether a file is COCO JSON, and not Roboflow's."""
    return kind_of(path) == COCO and path.name != ROBOFLOW_FILE


def describes_roboflow(path: Path) -> bool:
    """Whether a file is Roboflow's COCO JSON."""
    return kind_of(path) == COCO and path.name == ROBOFLOW_FILE


def read_coco_folder(
    root: Path, json_file: Path | None = None, image_root: Path | None = None
) -> AnnotatedDataset:
    """List a folder of COCO JSON files.

    Args:
        root: folder.
        json_file: the only file to read; all below ``root`` if None.
        image_root: folder that file names are relative to; if None, the folder that the file
            states, as ``bccd count`` writes it, or else the folder of the JSON file and those
            around it are tried, then any image below ``root`` of the same file name.

    Raises:
        FileNotFoundError: there is no such file.
    """
    root = Path(root)
    json_files = [Path(json_file)] if json_file else _coco_files(root)
    if not json_files:
        raise FileNotFoundError(f"{root} has no COCO JSON file. Name the folder that has it.")
    counted = None if image_root else _counted_folder(json_files)
    form = "roboflow" if all(path.name == ROBOFLOW_FILE for path in json_files) else "coco"
    listing, class_names = Listing(root, form, json_files, image_root or counted), []
    for path in json_files:
        part = None if counted else _split_name(path)
        try:
            content = read_coco(path, listing.finder(path, _likely_folders(path, root)))
            if part:
                listing.dataset.splits.setdefault(part, [])
            for image in content.images:
                listing.add(image, part, keep_id=True)
            class_names += content.class_names
        except ValueError as error:
            listing.refuse(path, error)
    every_picture = json_file is None and counted is None
    dataset = listing.finish(class_names, every_picture=every_picture)
    _number_images(dataset)
    return dataset


def read_roboflow(root: Path, json_file: Path | None = None) -> AnnotatedDataset:
    """List an export of Roboflow as COCO; as :func:`read_coco_folder`."""
    return read_coco_folder(root, json_file)


def _coco_files(root):
    return [path for path in files.list_files(root, log_skipped=False) if kind_of(path) == COCO]


def _counted_folder(json_files):
    """The folder of images that the only file states, as that of a run does, if it is there."""
    if len(json_files) != 1:
        return None
    try:
        folder = images_folder(json_files[0])
    except (OSError, ValueError):  # reading it says so
        return None
    return folder if folder and folder.is_dir() else None


def _likely_folders(json_file, root):
    """Folders that file names may be relative to beside those that any finder tries."""
    around = [folder for folder in json_file.parents if folder.is_relative_to(root)]
    return [folder / "images" / _split_name(json_file) for folder in around]


def _split_name(json_file):
    if json_file.name == ROBOFLOW_FILE:
        return json_file.parent.name
    return _SPLIT_OF_FILE.fullmatch(json_file.stem)[1]


def _number_images(dataset):
    """Give the images new ids where two files use the same."""
    images = dataset.images
    if len({image.image_id for image in images.values()}) < len(images):
        for number, (name, image) in enumerate(images.items(), start=1):
            images[name] = image.renumbered(number)


def write_coco(writing: Writing) -> None:
    """Write ``annotations/<part>.json`` for each part; names of files are below ``images/``."""
    for part, names in writing.parts().items():
        content = to_coco_json(
            {writing.file_name(name): writing.images[name] for name in names}, writing.class_names
        )
        text = json.dumps(content, ensure_ascii=False)
        writing.put(f"annotations/{part}.json", f"{text}\n")


def write_roboflow(writing: Writing) -> None:
    """Write ``<part>/_annotations.coco.json`` for each part, beside its images."""
    parts = writing.parts() if writing.splits else {writing.images_folder: list(writing.images)}
    for part, names in parts.items():
        content = to_coco_json(
            {writing.file_name(name): writing.images[name] for name in names},
            writing.class_names,
            supercategory="cells",
        )
        text = json.dumps(content, ensure_ascii=False)
        writing.put(f"{part}/{ROBOFLOW_FILE}", f"{text}\n")
