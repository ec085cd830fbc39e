"""Writing a data set anew, as the project reads it, in any format."""

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bccd.data.formats import files
from bccd.data.formats.annotated_image import AnnotatedImage, cleaned
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.registry import ANY_PARTS, FORMATS, USUAL_PARTS, Format
from bccd.data.formats.writing import Writing
from bccd.data.images.decoding import image_orientation


def convert(
    dataset: AnnotatedDataset,
    form: str,
    folder: Path | str,
    class_names: Sequence[str] | None = None,
) -> list[str]:
    """Write the cleaned annotations and copies of the images to a new folder.

    Args:
        dataset: without errors.
        form: a key of FORMATS; the ``write`` of each says what it writes.
        folder: is made; it appears when it is complete.
        class_names: classes in their order; those of the data set if None.

    Returns:
        a sentence for each thing that the format cannot hold and that is left out.

    Raises:
        FileExistsError: ``folder`` is there already.
        FileNotFoundError, ValueError: as :func:`.annotated_image.cleaned`; ValueError where the
            program that reads the format would show an image turned.
    """
    folder = Path(folder)
    if folder.exists():
        raise FileExistsError(f"{folder} is there already. Name a new folder to write to.")
    class_names = list(class_names or dataset.class_names)
    _check_names(class_names, dataset)
    images = cleaned(dataset.images.values(), dataset.root, class_names)
    target = FORMATS[form]
    if not target.turns:
        _refuse_turned(images, target)
    short = _short_names(dataset.images)
    named = dict(zip((short[name] for name in dataset.images), images, strict=True))
    splits = {split: [short[n] for n in names] for split, names in dataset.splits.items()}
    kept = _kept_parts(splits, target)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as work:
        writing = Writing(
            named, kept, class_names, Path(work) / "export", target.images, target.by_part
        )
        for name, image in named.items():
            for place in writing.places(name):
                copy = writing.folder / (place + image.path.suffix)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(image.path, copy)
        target.write(writing)
        os.rename(writing.folder, folder)
    return _losses(named, splits, kept, class_names, target)


def _check_names(class_names, dataset):
    for name in class_names:
        if not name.strip() or not name.isprintable():
            raise ValueError(
                f"{dataset.root}: the class {name!r} is empty, or has characters that files of "
                "other programs do not hold. Rename it."
            )


def _short_names(names):
    """Names without folders where these are still different, or as they are."""
    short = {name: name.rpartition("/")[2] for name in names}
    return short if len(set(short.values())) == len(short) else {name: name for name in names}


def _refuse_turned(images, target: Format):
    for image in images:
        if image_orientation(image.path) != 1:
            raise ValueError(
                f"{image.path} is turned by its EXIF orientation, which {target.title} does not "
                "do: the boxes would be beside the cells. Save the image upright, without "
                "orientation, and mark it anew."
            )


def _kept_parts(splits: Mapping[str, Sequence[str]], target: Format):
    """Those lists of images that the format can hold."""
    if target.parts == ANY_PARTS:
        return splits
    listed = [name for names in splits.values() for name in names]
    usual = all(part.lower() in files.PARTS for part in splits)
    alone = len(set(listed)) == len(listed)
    return splits if alone and (usual or target.parts != USUAL_PARTS) else {}


def _losses(
    images: Mapping[str, AnnotatedImage],
    splits: Mapping[str, Sequence[str]],
    kept: Mapping[str, Sequence[str]],
    class_names: Sequence[str],
    target: Format,
) -> list[str]:
    """A sentence for each thing that the format cannot hold."""
    boxes = [box for image in images.values() for box in image.boxes]
    losses = []
    scores = sum(box.score is not None for box in boxes)
    if scores and not target.scores:
        losses.append(f"{target.title} holds no scores: those of {scores} boxes are left out.")
    crowds = sum(bool(box.iscrowd) for box in boxes)
    if crowds and not target.crowds:
        losses.append(
            f"{target.title} does not tell regions of several cells: {crowds} are written as cells."
        )
    unused = [name for name in class_names if name not in {box.name for box in boxes}]
    if unused and not target.classes:
        losses.append(
            f"{target.title} lists no classes without a box: {', '.join(unused)} "
            f"{'is' if len(unused) == 1 else 'are'} left out."
        )
    if splits and not kept and list(splits.values()) != [list(images)]:
        losses.append(
            f"{target.title} holds no lists of images but {target.parts}: {', '.join(splits)} "
            f"{'is' if len(splits) == 1 else 'are'} left out."
        )
    return losses
