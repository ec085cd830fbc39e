"""The parts of own data as COCO files beside the training, which any tool reads again."""

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from bccd.atomic_files import write_atomically
from bccd.data.checks.near_duplicates import group_fields
from bccd.data.formats.annotated_image import to_records
from bccd.data.formats.coco import to_coco
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.files import PARTS as PART_OF
from bccd.experiments.own_data.split import PARTS, split_groups

logger = logging.getLogger(__name__)


def write_parts(
    dataset: AnnotatedDataset,
    class_names: Sequence[str],
    folder: Path,
    *,
    seed: int,
    by_folder: bool = False,
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Split a data set, unless it comes with its parts, and write the parts.

    Args:
        dataset: without errors.
        class_names: by class id.
        folder: for ``train.json``, ``val.json``, ``test.json`` and ``split.json``, which has the
            names of the images.
        seed, by_folder: of a random split, see :func:`.split_groups`.

    Returns:
        each part to names of images, and to the name by which it is registered.

    Raises:
        ValueError: the images cannot be split.
    """
    parts = _own_parts(dataset)
    if parts is None:
        groups = group_fields(dataset.images, by_folder=by_folder)
        parts = split_groups(groups, dataset.images, seed)
    folder.mkdir(parents=True, exist_ok=True)
    folders = {image.path.resolve().parent for image in dataset.images.values()}
    root = Path(os.path.commonpath(folders))
    names = {}
    for part, images in parts.items():
        records = to_records((dataset.images[name] for name in images), part, class_names)
        for number, record in enumerate(records, start=1):
            record["image_id"] = number
            record["file_name"] = str(Path(record["file_name"]).resolve())
        path = folder / f"{part}.json"
        _write(path, to_coco(records, class_names, root))
        names[part] = f"coco:{path.resolve()}:{root}"
    _write(folder / "split.json", parts)
    return parts, names


def _own_parts(dataset):
    """The parts that a data set comes with, if it has all three.

    Raises:
        ValueError: an image is in two of them.
    """
    found = {}
    for split, names in dataset.splits.items():
        if names and split.lower() in PART_OF:
            found[PART_OF[split.lower()]] = names
    if set(found) != set(PARTS):
        return None
    part_of = {}
    for part in PARTS:
        for name in found[part]:
            if name in part_of:
                raise ValueError(
                    f"{dataset.root}: {name} is in {part_of[name]} and in {part}. Take it from one "
                    "of the lists, or what is measured was learnt."
                )
            part_of[name] = part
    if left := [name for name in dataset.images if name not in part_of]:
        logger.warning(f"{len(left)} images are in no part and are not used, such as {left[0]}")
    return {part: found[part] for part in PARTS}


def _write(path, content):
    text = (json.dumps(content, indent=1) + "\n").encode()
    write_atomically(path, lambda file: file.write(text))
