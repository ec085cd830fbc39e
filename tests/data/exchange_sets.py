"""Data sets for the tests of exchange formats."""

from pathlib import Path

from voc_trees import write_picture

from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.conversion import convert
from bccd.data.formats.dataset import AnnotatedDataset

SIZE = (64, 48)
CLASSES = ["RBC", "Bạch cầu lympho", "Tiểu cầu (to)"]
# name of the image: its boxes as (class, corners, score)
SCORED = {
    "a ế": [
        ("RBC", (1.25, 2.5, 20.125, 30.0625), 0.875),
        ("Bạch cầu lympho", (22.3, 8.7, 61.1, 45.9), 0.123456),
    ],
    "s1/b": [("Tiểu cầu (to)", (5.0, 6.0, 9.0, 11.0), None)],
    "s2/b": [],
}


def make_dataset(root: Path, images=None, classes=CLASSES, splits=None) -> AnnotatedDataset:
    """An AnnotatedDataset, its pictures written to ``root``."""
    images = SCORED if images is None else images
    dataset = AnnotatedDataset(root, "coco", list(classes))
    for number, (name, boxes) in enumerate(images.items(), start=1):
        path = root / f"{name}.png"
        if not path.exists():
            write_picture(path, number, SIZE)
        annotated = tuple(
            AnnotatedBox(label, tuple(map(float, corners)), None, f"{name}, box {i}", 0, score)
            for i, (label, corners, score) in enumerate(boxes, start=1)
        )
        dataset.images[name] = AnnotatedImage(path, root, number, *SIZE, annotated)
    dataset.splits = splits or {}
    return dataset


def write_as(form: str, folder: Path, **options) -> Path:
    """A data set in a format, in ``folder / form``."""
    convert(make_dataset(folder / "made", **options), form, folder / form)
    return folder / form
