"""Reader and writer for one Pascal VOC XML file; :mod:`.voc_folder` has the folders of them.

Detectron2's ``load_voc_instances`` moves each box by a pixel, needs the sizes that some programs
leave out, and does not say which file is wrong.
"""

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.xml_content import LINE, parse_xml
from bccd.data.images.decoding import image_size
from bccd.data.images.image_source import UnreadableImageError


def read_annotation(
    path: Path, find_image: Path | Callable[[str], Path], image_id: int
) -> AnnotatedImage:
    """Read one VOC XML file as it is.

    Corner coordinates are taken as they are (no shift by one). ``difficult`` and ``truncated`` are
    not used (BCCD sets neither).

    Args:
        path: the XML file.
        find_image: the image that it annotates, or what finds it by the file's ``<filename>``,
            which is "" where there is none. The image is opened where the file states no size.
        image_id: integer id to give it.

    Raises:
        FileNotFoundError: the XML file is missing.
        ValueError: the file is not VOC XML; the message names file and line.
    """
    path = Path(path)
    if not path.is_file():
        image = find_image("") if callable(find_image) else find_image
        raise FileNotFoundError(
            f"{path} is missing, the annotation of {image}. Add it (without objects if the "
            "image shows no cell), or remove the image."
        )
    tree = parse_xml(path)
    if tree.tag != "annotation":
        raise ValueError(
            f"{path}:1: its root is <{tree.tag}>, not <annotation>, so this is no Pascal VOC file. "
            "Export the annotations as Pascal VOC or COCO, or move the file away."
        )
    image = find_image
    if callable(find_image):
        image = find_image((tree.findtext("filename") or "").strip())
    width, height = _size(tree, path, image)
    return AnnotatedImage(
        path=Path(image),
        source=path,
        image_id=image_id,
        width=width,
        height=height,
        boxes=tuple(_box(element, path) for element in tree.iter("object")),
    )


def to_voc_xml(image: AnnotatedImage) -> str:
    """Pascal VOC XML text of an annotated image."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = image.path.name
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", image.width), ("height", image.height), ("depth", 3)):
        ElementTree.SubElement(size, key).text = str(value)
    for box in image.boxes:
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = box.name
        ElementTree.SubElement(item, "difficult").text = "0"
        bndbox = ElementTree.SubElement(item, "bndbox")
        for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), box.corners, strict=True):
            ElementTree.SubElement(bndbox, corner).text = f"{value:.12g}"
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


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
    if not (text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise ValueError(f"{path}:{line}: {tag} is {text!r}, expected the image's size in pixels.")
    return int(text)


def _text(element, tag, path):
    """Text and line of a descendant that has to be there."""
    child = element.find(tag)
    if child is None or not (child.text or "").strip():
        line = (element if child is None else child).get(LINE)
        raise ValueError(f"{path}:{line}: <{tag}> is missing or empty. Write it into the file.")
    return child.text.strip(), int(child.get(LINE))
