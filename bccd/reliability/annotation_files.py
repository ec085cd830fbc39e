"""Broken annotation files of every format, which are checked and, where they can be, converted."""

import os
import shutil
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from bccd.data.boxes import has_no_area
from bccd.data.checks.report import make_report
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.conversion import convert
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.registry import FORMATS, read_dataset
from bccd.reliability.mutations import (
    mutate_bytes,
    mutate_json,
    mutate_lines,
    mutate_xml,
)
from bccd.reliability.run import CaseError, check_sentence

_SIZE = (64, 48)
_CLASSES = ["RBC", "Bạch cầu"]
_IMAGES = {
    "a": [("RBC", (4.25, 6.0, 20.0, 30.0), 0.5), ("Bạch cầu", (30.0, 9.0, 60.0, 42.0), None)],
    "b c": [("RBC", (8.0, 12.0, 32.0, 36.0), None)],
    "empty": [],
}
_BOXES = sum(map(len, _IMAGES.values()))
_TEXT = {
    **{".json": mutate_json, ".geojson": mutate_json, ".xml": mutate_xml},
    **{".txt": mutate_lines, ".yaml": mutate_lines},
}


class AnnotationFiles:
    """A data set of three images in every format, one of whose files is changed.

    A case fails where reading, checking or converting raises what is no sentence about a file, or
    where boxes are missing after a change that removed none.
    """

    def __init__(self, forms: tuple[str, ...] = tuple(FORMATS)) -> None:
        """``forms``: keys of FORMATS."""
        self._forms = forms
        self._number = 0

    def prepare(self, folder: Path) -> None:
        """Write the data set in each format."""
        made = _make(folder / "made")
        for form in self._forms:
            convert(made, form, folder / "good" / form)

    def run_case(self, random: Random, folder: Path) -> str:
        """Change a file of one format; returns what became of it."""
        form = random.choice(self._forms)
        self._number += 1
        case = folder / f"case {self._number}"
        try:
            shutil.copytree(folder / "good" / form, case, copy_function=_link)
            whole = _change(case, random)
            return f"{form}: {_use(case, form if random.random() < 0.5 else None, whole, random)}"
        finally:
            shutil.rmtree(case, ignore_errors=True)
            shutil.rmtree(folder / "converted", ignore_errors=True)

    def close(self) -> None:
        """Nothing was started."""


def _make(folder):
    dataset = AnnotatedDataset(folder, "coco", list(_CLASSES))
    folder.mkdir(parents=True)
    for number, (name, boxes) in enumerate(_IMAGES.items(), start=1):
        path = folder / f"{name}.png"
        pixels = np.random.default_rng(number).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(_SIZE).save(path)
        annotated = tuple(AnnotatedBox(n, c, None, name, 0, score) for n, c, score in boxes)
        dataset.images[name] = AnnotatedImage(path, folder, number, *_SIZE, annotated)
    return dataset


def _link(source, target):
    """Copy annotations, which are changed, and link the pictures, which are not."""
    copy = os.link if source.endswith(".png") else shutil.copyfile
    return copy(source, target)


def _change(folder: Path, random: Random) -> bool:
    """Change one annotation file; returns whether every box is still in it."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".png"]
    path = random.choice(paths)
    mutate = _TEXT.get(path.suffix)
    if mutate and path.stat().st_size and random.random() < 0.7:
        text = mutate(path.read_text(encoding="utf-8"), random)
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        return True
    path.write_bytes(mutate_bytes(path.read_bytes(), random))
    return False


def _use(folder: Path, form: str | None, whole: bool, random: Random) -> str:
    """Read, check and convert; returns what became of it."""
    try:
        dataset = read_dataset(folder, form)
        report = make_report(dataset)
    except (OSError, ValueError) as error:
        _check_sentence(str(error), folder)
        return "refused"
    for problem in report["problems"]:
        _check_sentence(f"{problem['file']}: {problem['message']}", folder)
    boxes = [box for image in dataset.images.values() for box in image.boxes]
    if not report["usable"]:
        return "errors found"
    said = Counter(problem["kind"] for problem in report["problems"])
    if whole and len(boxes) != _BOXES and not said:
        raise CaseError(f"{folder}: {len(boxes)} boxes of {_BOXES}, and no word about it")
    target = random.choice(list(FORMATS))
    try:
        convert(dataset, target, folder.parent / "converted")
    except (OSError, ValueError) as error:
        _check_sentence(str(error), folder)
        return "not converted"
    again = read_dataset(folder.parent / "converted", target)
    again.raise_unreadable()
    kept = sum(not has_no_area(box.corners) for box in boxes)
    found = sum(len(image.boxes) for image in again.images.values())
    if found != kept:
        raise CaseError(f"{folder}: {kept} boxes, {found} after writing them as {target}")
    return "read"


def _check_sentence(text: str, folder: Path) -> None:
    names = [str(folder), *(path.name for path in folder.rglob("*") if path.is_file())]
    check_sentence(text, () if text.startswith(".: ") else tuple(names))
