"""Reader for Pascal VOC trees: ``Annotations/*.xml`` beside ``JPEGImages/``."""

import re
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage, to_records
from bccd.data.images.apple_double import without_apple_double
from bccd.data.images.decoding import image_size
from bccd.data.images.image_source import IMAGE_SUFFIXES, UnreadableImageError


def load_voc(root, image_ids=None):
    """Read a VOC tree into Detectron2 records.

    Corner coordinates are taken as they are (no shift by one), sizes from the XML: an image is
    opened only where the XML states none. ``difficult`` and ``truncated`` are not used (BCCD sets
    neither).

    Args:
        root: folder with ``Annotations`` and ``JPEGImages``.
        image_ids: file stems to read, in this order; all of the tree, sorted, if None.

    Returns:
        list[dict] as :func:`.annotated_image.to_records` returns; ``image_id`` is the number
        at the end of the stem.

    Raises:
        FileNotFoundError: the tree, an image or an XML file is missing.
        ValueError: an XML file, a class or a box cannot be used; the message names file and line.
    """
    root = Path(root)
    images, annotations = list_tree(root)
    if image_ids is None:
        image_ids = sorted(images.keys() | annotations.keys())
    numbers = image_numbers(image_ids)
    return to_records(
        (
            read_annotation(
                annotations.get(stem, root / "Annotations" / f"{stem}.xml"),
                images.get(stem, root / "JPEGImages" / f"{stem}.jpg"),
                numbers[stem],
            )
            for stem in image_ids
        ),
        root,
    )


def list_tree(root):
    """Files of a VOC tree by stem: (dict stem -> image Path, dict stem -> XML Path).

    Raises:
        FileNotFoundError: ``root`` is not a VOC tree.
        ValueError: two images have one name, or an image or XML file is in a subfolder, where it
            would not be read.
    """
    root = Path(root)
    for folder in (root / "Annotations", root / "JPEGImages"):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"{folder} is not there, so {root} is no Pascal VOC tree. Get BCCD with "
                "`python datasets/prepare_bccd.py`, or set DETECTRON2_DATASETS to the folder "
                "that holds BCCD."
            )
    folders = ((root / "JPEGImages", IMAGE_SUFFIXES), (root / "Annotations", (".xml",)))
    files = without_apple_double(
        path
        for folder, suffixes in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in suffixes and path.is_file()
    )
    return tuple(_by_stem(files, folder) for folder, _ in folders)


def _by_stem(files, folder):
    """Those of ``files`` below ``folder``, by stem; one in a subfolder is an error."""
    found = {}
    for path in files:
        if folder not in path.parents:
            continue
        if path.parent != folder:
            raise ValueError(
                f"{path} is in a subfolder, and {folder.name}/ is read without its subfolders: "
                "move the files up, and the others of the tree with them"
            )
        if path.stem in found:
            raise ValueError(f"{found[path.stem]} and {path} have one name. Rename one of them.")
        found[path.stem] = path
    return found


def image_numbers(stems):
    """Integer image id per stem: the number at its end (37 for BloodImage_00037).

    Where a stem ends in no number, or two in the same, all are numbered from 1 in their order.
    """
    found = {stem: re.search(r"\d+$", stem) for stem in stems}
    if all(found.values()):
        numbers = {stem: int(match.group()) for stem, match in found.items()}
        if len(set(numbers.values())) == len(numbers):
            return numbers
    return {stem: position for position, stem in enumerate(found, start=1)}


def read_annotation(path, image_path, image_id):
    """Read one VOC XML file as it is.

    Args:
        path: the XML file.
        image_path: the image that it annotates; opened where the file does not state its size.
        image_id: integer id to give it.

    Returns:
        AnnotatedImage

    Raises:
        FileNotFoundError: the XML file is missing.
        ValueError: the file is not VOC XML; the message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing, the annotation of {image_path}. Add it (without objects if the "
            "image shows no cell), or remove the image."
        )
    tree = _parse_xml(path)
    width, height = _size(tree, path, Path(image_path))
    return AnnotatedImage(
        path=Path(image_path),
        source=path,
        image_id=image_id,
        width=width,
        height=height,
        boxes=tuple(_box(element, path) for element in tree.iter("object")),
    )


def _box(element, path):
    name, _ = _text(element, "name", path)
    corners, lines = [], []
    for corner in ("xmin", "ymin", "xmax", "ymax"):
        text, line = _text(element, f"bndbox/{corner}", path)
        try:
            corners.append(float(text))
        except ValueError:
            raise ValueError(f"{path}:{line}: {corner} is {text!r}, expected a number.") from None
        lines.append(line)
    return AnnotatedBox(name, tuple(corners), line=lines[0], where=f"{path}:{lines[0]}")


def _size(tree, path, image_path):
    """Width and height as stated, or else the image's: some programs leave <size> out."""
    if not any((tree.findtext(f"size/{side}") or "").strip() for side in ("width", "height")):
        try:
            return image_size(image_path)
        except (OSError, UnreadableImageError) as error:
            raise ValueError(
                f"{path}: <size> is missing, and cannot be taken from the image ({error}). Add "
                "either."
            ) from error
    return _side(tree, "size/width", path), _side(tree, "size/height", path)


def _side(tree, tag, path):
    text, line = _text(tree, tag, path)
    if not (text.isdecimal() and int(text) > 0):
        raise ValueError(f"{path}:{line}: {tag} is {text!r}, expected the image's size in pixels.")
    return int(text)


def _text(element, tag, path):
    """Text and line of a descendant that has to be there."""
    child = element.find(tag)
    if child is None or not (child.text or "").strip():
        line = (element if child is None else child).get("line")
        raise ValueError(f"{path}:{line}: <{tag}> is missing or empty. Write it into the file.")
    return child.text.strip(), int(child.get("line"))


def _parse_xml(path):
    """Root element of an XML file in which every element has its line as attribute ``line``."""
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()

    def start(tag, attributes):
        builder.start(tag, attributes).set("line", str(parser.CurrentLineNumber))

    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        raise ValueError(f"{path}:{error.lineno}: not well-formed XML ({error}).") from None
    return builder.close()
