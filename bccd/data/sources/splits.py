"""Splits of BCCD as lists of image ids (file stems), kept as text files in this package."""

import random
from collections.abc import Iterable
from pathlib import Path

from bccd.data.formats.dataset import AnnotatedDataset

_FOLDER = Path(__file__).with_name("splits")


def read_split(name: str) -> list[str]:
    """Image ids of a split, sorted.

    Args:
        name: ``paper_train|val|test`` or ``voc_train|val|trainval|test``.

    Raises:
        ValueError: there is no such split; the message lists those that there are.
    """
    names = split_names()
    if name not in names:
        raise ValueError(f"No split is named {name!r} (expected one of {', '.join(names)}).")
    return (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").split()


def split_names() -> list[str]:
    """Names of all splits, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.txt"))


def paper_split(image_ids: Iterable[str]) -> dict[str, list[str]]:
    """The rule behind the ``paper`` split: a seeded shuffle cut into 256 / 74 / the rest.

    The seed is the one whose training part has the label counts that the paper prints for its
    data (249 platelets, 2,938 RBC, 263 WBC).

    Args:
        image_ids: all 364 ids of BCCD, in any order.

    Returns:
        dict of ``paper_train``, ``paper_val``, ``paper_test`` to sorted lists of ids.
    """
    ids = sorted(image_ids)
    random.Random(5565).shuffle(ids)
    return {
        "paper_train": sorted(ids[:256]),
        "paper_val": sorted(ids[256:330]),
        "paper_test": sorted(ids[330:]),
    }


def use_bccd_splits(dataset: AnnotatedDataset) -> AnnotatedDataset:
    """Replace the lists of a data set by the splits of this package if it is BCCD itself.

    They contain the lists that BCCD comes with, under ``voc_*``.
    """
    splits = {name: read_split(name) for name in split_names()}
    annotated = dataset.images.keys() | {path.stem for path, _ in dataset.unreadable}
    if annotated == {name for names in splits.values() for name in names}:
        dataset.splits = splits
    return dataset
