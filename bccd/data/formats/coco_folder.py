"""Folders of COCO JSON files and images: CVAT's, Label Studio's, Roboflow's, COCO's own."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bccd.data.formats import files
from bccd.data.formats.coco import read_coco, to_coco
from bccd.data.formats.dataset import AnnotatedDataset, unique_classes

# Where Roboflow, and Kaggle's copies of its exports, keep the annotations of each part.
ROBOFLOW_PARTS = ("train", "valid", "test")
ROBOFLOW_FILE = "_annotations.coco.json"

_LISTS = ('"images"', '"annotations"', '"categories"')
# COCO calls its files instances_train2017.json, CVAT instances_default.json.
_SPLIT_OF_FILE = re.compile(r"(?:instances_)?(.+?)(?:20\d\d)?")


def is_coco(root: Path, below: Sequence[Path]) -> bool:
    """Whether a COCO JSON file is in ``root``, which has the files ``below``."""
    return bool(_coco_files(below))


def _coco_files(paths):
    """Those JSON files that have COCO's three lists."""
    return [path for path in files.with_suffix(paths, (".json",)) if _has_lists(path)]


def _has_lists(path):
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    return all(key in text for key in _LISTS)


def read_coco_folder(
    root: Path, json_file: Path | None = None, image_root: Path | None = None
) -> AnnotatedDataset:
    """List a folder of COCO JSON files.

    Args:
        root: folder.
        json_file: the only file to read; all below ``root`` if None.
        image_root: folder that file names are relative to; if None, the folder of the JSON file
            and those around it are tried, then any image below ``root`` of the same file name.

    Raises:
        FileNotFoundError: there is no such file.
    """
    root = Path(root)
    below = files.list_files(image_root or root)
    json_files = [Path(json_file)] if json_file else _coco_files(below)
    if not json_files:
        raise FileNotFoundError(f"{root} has no COCO JSON file. Name the folder that has it.")
    pictures = files.images_of(below)
    dataset = AnnotatedDataset(root, "coco")
    folder = files.common_folder([*pictures, *json_files], image_root or root)
    for path in json_files:
        folders = [image_root] if image_root else _image_folders(path, root)
        try:
            content = read_coco(path, files.ImageFinder(folders, pictures))
            _add(dataset, path, content, folder)
        except ValueError as error:
            dataset.unreadable.append((path, str(error)))
    _number_images(dataset)
    if json_file is None and not dataset.unreadable:
        listed = {image.path.resolve() for image in dataset.images.values()}
        dataset.unannotated = [path for path in pictures if path.resolve() not in listed]
    return dataset


def _image_folders(json_file, root):
    """Folders that file names may be relative to, the likeliest first."""
    around = [folder for folder in json_file.parents if folder.is_relative_to(root)]
    folders = [candidate for folder in around for candidate in (folder, folder / "images")]
    split = _split_name(json_file)
    return [*folders, *(folder / "images" / split for folder in around)]


def _split_name(json_file):
    if json_file.name == ROBOFLOW_FILE:
        return json_file.parent.name
    return _SPLIT_OF_FILE.fullmatch(json_file.stem)[1]


def _add(dataset, json_file, content, folder):
    """Add the images and classes of one file, as the split of its name."""
    names = []
    for image in content.images:
        name = files.entry_name(image.path, folder)
        known = dataset.images.get(name)
        if known and known.path != image.path:  # smear.png beside smear.jpg
            name = f"{name}{image.path.suffix}"
            known = dataset.images.get(name)
        if known and _boxes(known) != _boxes(image):
            raise ValueError(
                f"{json_file}: {image.path.name} has other boxes in {known.source}. Name the file "
                "that is meant, as coco:FILE.json:IMAGES, or move the other one away."
            )
        dataset.images.setdefault(name, image)
        names.append(name)
    dataset.class_names = unique_classes([*dataset.class_names, *content.class_names])
    dataset.splits[_split_name(json_file)] = names


def _boxes(image):
    return sorted((box.name, *box.corners) for box in image.boxes)


def _number_images(dataset):
    """Give the images new ids where two files use the same."""
    images = dataset.images
    if len({image.image_id for image in images.values()}) < len(images):
        for number, (name, image) in enumerate(images.items(), start=1):
            images[name] = image.renumbered(number)


def write_coco(
    records: Mapping[str, dict],
    splits: Mapping[str, Sequence[str]],
    class_names: Sequence[str],
    write: Callable[[str, str], None],
) -> None:
    """Write records as a JSON file for each split; arguments as :func:`.voc_folder.write_voc`.

    ``file_name`` is below the folder of the images: the record's name and its file's suffix.
    """
    for split, names in splits.items():
        content = to_coco([records[name] for name in names], class_names)
        for entry, name in zip(content["images"], names, strict=True):
            entry["file_name"] = name + Path(records[name]["file_name"]).suffix
        write(f"annotations/{split}.json", json.dumps(content))
