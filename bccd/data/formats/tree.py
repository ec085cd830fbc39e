"""A data set on disk in either layout, listed file by file and nothing refused.

The readers stop at the first thing that is wrong; checking and exporting need the whole picture.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from bccd.data.formats.annotated_image import AnnotatedImage
from bccd.data.formats.coco import ROBOFLOW_FILE, ROBOFLOW_PARTS, read_coco
from bccd.data.formats.voc import image_numbers, list_tree, read_annotation
from bccd.data.images.apple_double import without_apple_double
from bccd.data.images.image_source import IMAGE_SUFFIXES


@dataclass
class Tree:
    """What a data set's folder holds.

    Attributes:
        root: the folder.
        layout: "voc" or "roboflow".
        images: the images whose annotation could be read.
        splits: name of a split to the stems of its images.
        unannotated: image files without an annotation.
        unreadable: annotation files that could not be read, and why.
    """

    root: Path
    layout: str
    images: list[AnnotatedImage] = field(default_factory=list)
    splits: dict[str, list[str]] = field(default_factory=dict)
    unannotated: list[Path] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def layout_of(root):
    """ "voc" or "roboflow", or None where ``root`` is neither."""
    if (root / "Annotations").is_dir() and (root / "JPEGImages").is_dir():
        return "voc"
    if any((root / part / ROBOFLOW_FILE).is_file() for part in ROBOFLOW_PARTS):
        return "roboflow"
    return None


def no_data_set(folder):
    """The error of a folder without a data set in either layout: what to do with what is there."""
    expected = "Annotations/ and JPEGImages/ (Pascal VOC), or train/" + ROBOFLOW_FILE
    advice = {
        ".xml": "put its XML files into Annotations/ and its images into JPEGImages/",
        ".json": f"put its COCO JSON beside its images as train/{ROBOFLOW_FILE}",
        ".txt": "export it as Pascal VOC or COCO: YOLO's text files are not read",
    }
    suffixes = {path.suffix.lower() for path in folder.rglob("*") if path.is_file()}
    found = [text for suffix, text in advice.items() if suffix in suffixes]
    return FileNotFoundError(
        f"{folder} holds no data set in a layout that is read: expected {expected} (Roboflow, "
        f"Kaggle), at most two folders down. {(found or ['Name another folder'])[0]}."
    )


def read_tree(root):
    """List a data set.

    Args:
        root: folder in VOC layout, or a Roboflow export.

    Returns:
        Tree

    Raises:
        FileNotFoundError: ``root`` has neither layout.
        ValueError: it is empty, or has files that would not be read.
    """
    root = Path(root)
    layout = layout_of(root)
    if layout is None:
        raise no_data_set(root)
    tree = _read_voc(root) if layout == "voc" else _read_roboflow(root)
    if not (tree.images or tree.unannotated or tree.unreadable):
        raise ValueError(f"{root} has neither an image nor an annotation. Add both.")
    return tree


def _read_voc(root):
    tree = Tree(root, "voc")
    images, annotations = list_tree(root)
    numbers = image_numbers(sorted(images.keys() | annotations.keys()))
    for stem, path in annotations.items():
        image = images.get(stem, root / "JPEGImages" / f"{stem}.jpg")
        try:
            tree.images.append(read_annotation(path, image, numbers[stem]))
        except ValueError as error:
            tree.unreadable.append((path, str(error)))
    tree.unannotated = [path for stem, path in images.items() if stem not in annotations]
    known = images.keys() | annotations.keys()
    for path in sorted((root / "ImageSets" / "Main").glob("[!.]*.txt")):
        stems = _read_list(path, known)
        if stems is not None:
            tree.splits[path.stem] = stems
    return tree


def _read_list(path, known):
    """Stems that a list in ImageSets/Main names, a line each; None for a list of one class.

    The lists of a class name all images, with 1, 0 or -1 behind each for whether it shows the
    class: they are no split.
    """
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    lines = [line for line in lines if line]
    flagged = [re.fullmatch(r"(.*\S)\s+(?:-1|0|1)", line) for line in lines]
    if lines and all(flagged) and not known.issuperset(lines):
        return None
    return lines


def _read_roboflow(root):
    tree = Tree(root, "roboflow")
    for part in ROBOFLOW_PARTS:
        json_file = root / part / ROBOFLOW_FILE
        if not json_file.is_file():
            continue
        try:
            images = read_coco(json_file, json_file.parent)
        except ValueError as error:
            tree.unreadable.append((json_file, str(error)))
            continue
        tree.images += images
        tree.splits[part] = [image.path.stem for image in images]
        listed = {image.path.name for image in images}
        tree.unannotated += [
            path
            for path in without_apple_double(sorted(json_file.parent.iterdir()))
            if path.suffix.lower() in IMAGE_SUFFIXES and path.name not in listed
        ]
    return tree
