"""Writing a data set, as the project reads it, for other tools: COCO, YOLO, Pascal VOC."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from bccd.data.formats.annotated_image import to_records
from bccd.data.formats.coco import to_coco
from bccd.data.records import boxes_and_classes
from bccd.data.sources.bccd_classes import CLASS_NAMES


def export_tree(tree, form, folder):
    """Write the cleaned annotations and copies of the images to a new folder.

    Args:
        tree: :class:`bccd.data.formats.tree.Tree` without errors.
        form: "coco" (``images/``, ``annotations/<split>.json``), "yolo" (``images/``, ``labels/``,
            a list ``<split>.txt`` each, and ``paper.yaml``, ``voc.yaml``) or "voc"
            (``JPEGImages/``, ``Annotations/``, ``ImageSets/Main/<split>.txt``).
        folder: is made; it appears when it is complete.

    Raises:
        FileExistsError: ``folder`` is there already.
        ValueError: two images have one name, or as :func:`.annotated_image.to_records`.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already. Name a new folder to export to.")
    records = {}
    for image, record in zip(tree.images, to_records(tree.images, tree.root), strict=True):
        if image.path.stem in records:
            raise ValueError(f"{image.path}: a second image of this name. Rename one of the two.")
        records[image.path.stem] = record
    splits = tree.splits or {"all": list(records)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as work:
        target = Path(work) / "export"
        images = target / ("JPEGImages" if form == "voc" else "images")
        images.mkdir(parents=True)
        for record in records.values():
            shutil.copyfile(record["file_name"], images / Path(record["file_name"]).name)
        FORMS[form](records, splits, target)
        os.rename(target, folder)


def _write_coco(records, splits, folder):
    for split, stems in splits.items():
        content = to_coco([records[stem] for stem in stems], CLASS_NAMES)
        _write(folder / "annotations" / f"{split}.json", json.dumps(content))


def _write_yolo(records, splits, folder):
    for stem, record in records.items():
        _write(folder / "labels" / f"{stem}.txt", "".join(_yolo_lines(record)))
    for split, stems in splits.items():
        names = (Path(records[stem]["file_name"]).name for stem in stems)
        _write(folder / f"{split}.txt", "".join(f"./images/{name}\n" for name in names))
    for family, parts in _families(splits).items():
        lines = [f"{part}: {split}.txt\n" for part, split in parts.items()]
        lines += ["names:\n", *(f"  {i}: {name}\n" for i, name in enumerate(CLASS_NAMES))]
        _write(folder / f"{family}.yaml", "".join(lines))


def _families(splits):
    """Split names by what they have in common: paper_train, paper_val -> paper: {train, val}."""
    families = {}
    for split in splits:
        family, _, part = split.rpartition("_")
        families.setdefault(family or "data", {})["val" if part == "valid" else part] = split
    return families


def _yolo_lines(record):
    width, height = record["width"], record["height"]
    for (x0, y0, x1, y1), category in zip(*_boxes_and_classes(record), strict=True):
        values = (
            (x0 + x1) / 2 / width,
            (y0 + y1) / 2 / height,
            (x1 - x0) / width,
            (y1 - y0) / height,
        )
        yield " ".join([str(category), *(f"{v:.8f}" for v in values)]) + "\n"


def _write_voc(records, splits, folder):
    for stem, record in records.items():
        _write(folder / "Annotations" / f"{stem}.xml", to_voc_xml(record))
    for split, stems in splits.items():
        _write(folder / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{s}\n" for s in stems))


def to_voc_xml(record):
    """Pascal VOC XML text of a Detectron2 record."""
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = Path(record["file_name"]).name
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", record["width"]), ("height", record["height"]), ("depth", 3)):
        ElementTree.SubElement(size, key).text = str(value)
    for corners, category in zip(*_boxes_and_classes(record), strict=True):
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = CLASS_NAMES[category]
        ElementTree.SubElement(item, "difficult").text = "0"
        box = ElementTree.SubElement(item, "bndbox")
        for corner, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            ElementTree.SubElement(box, corner).text = f"{value:.12g}"
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _boxes_and_classes(record):
    return (values.tolist() for values in boxes_and_classes(record))


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


FORMS = {"coco": _write_coco, "yolo": _write_yolo, "voc": _write_voc}
