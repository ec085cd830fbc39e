"""A data set on disk in either layout, listed file by file and nothing refused.

The readers stop at the first thing that is wrong; checking and exporting need the whole picture.
"""

from dataclasses import dataclass, field
from pathlib import Path

from bccd.data.annotations import AnnotatedImage
from bccd.data.apple_double import without_apple_double
from bccd.data.coco_json import ROBOFLOW_FILE, ROBOFLOW_PARTS, read_coco
from bccd.data.image_source import IMAGE_SUFFIXES
from bccd.data.splits import read_split, split_names
from bccd.data.voc import image_numbers, list_tree, read_annotation


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


def read_tree(root):
    """List a data set.

    Args:
        root: folder in VOC layout, or a Roboflow export.

    Returns:
        Tree

    Raises:
        FileNotFoundError: ``root`` has neither layout.
    """
    root = Path(root)
    layout = layout_of(root)
    if layout is None:
        raise FileNotFoundError(
            f"{root} holds no data set: expected Annotations/ and JPEGImages/ (Pascal VOC), or "
            f"train/{ROBOFLOW_FILE} (Roboflow, Kaggle)."
        )
    return _read_voc(root) if layout == "voc" else _read_roboflow(root)


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
    for path in sorted((root / "ImageSets" / "Main").glob("*.txt")):
        tree.splits[path.stem] = path.read_text(encoding="utf-8").split()
    ours = {name: read_split(name) for name in split_names()}
    if annotations.keys() == {stem for stems in ours.values() for stem in stems}:
        tree.splits = ours  # BCCD itself: ours contain its own lists, under voc_*
    return tree


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
