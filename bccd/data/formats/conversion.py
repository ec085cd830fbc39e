"""Writing a data set anew, as the project reads it, in any format."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bccd.data.formats.annotated_image import to_records
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.registry import FORMATS


def convert(
    dataset: AnnotatedDataset,
    form: str,
    folder: Path | str,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write the cleaned annotations and copies of the images to a new folder.

    Args:
        dataset: without errors.
        form: "coco" (``images/``, ``annotations/<split>.json``), "yolo" (``images/``, ``labels/``,
            a list ``<split>.txt`` each, and ``paper.yaml``, ``data.yaml``) or "voc"
            (``JPEGImages/``, ``Annotations/``, ``ImageSets/Main/<split>.txt``).
        folder: is made; it appears when it is complete.
        class_names: classes in their order; those of the data set if None.

    Raises:
        FileExistsError: ``folder`` is there already.
        ValueError: as :func:`.annotated_image.to_records`.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already. Name a new folder to write to.")
    class_names = list(class_names or dataset.class_names)
    records = to_records(dataset.images.values(), dataset.root, class_names)
    short = _short_names(dataset.images)
    records = dict(zip((short[name] for name in dataset.images), records, strict=True))
    splits = {split: [short[n] for n in names] for split, names in dataset.splits.items()}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as work:
        target = Path(work) / "export"
        for name, record in records.items():
            copy = target / FORMATS[form].images / (name + Path(record["file_name"]).suffix)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(record["file_name"], copy)

        def write(path: str, text: str) -> None:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")

        FORMATS[form].write(records, splits or {"all": list(records)}, class_names, write)
        os.rename(target, folder)


def _short_names(names):
    """Names without folders where these are still different, or as they are."""
    short = {name: name.rpartition("/")[2] for name in names}
    return short if len(set(short.values())) == len(short) else {name: name for name in names}
