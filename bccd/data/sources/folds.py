"""Five-fold cross-validation over all of BCCD: each image is tested once.

Fold k is the test part, the next fold validates and the other three train, which are about as many
images as the training part of BCCD's own split.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

FOLDS = 5
# Numbers of pairs of images that show the same field (bccd.data.checks.near_duplicates).
SAME_FIELD = (
    (37, 38),
    (204, 277),
    (226, 261),
    (227, 260),
    (229, 258),
    (230, 257),
    (231, 256),
    (236, 253),
    (382, 395),
    (386, 391),
)
_FOLDER = Path(__file__).with_name("splits") / "folds"


def fold_parts() -> list[str]:
    """Names of all parts: ``fold1_train``, ``fold1_val``, ``fold1_test``, ``fold2_train``, ..."""
    return [f"fold{k}_{part}" for k in range(1, FOLDS + 1) for part in ("train", "val", "test")]


def read_fold_part(name: str) -> list[str]:
    """Image ids of a part, sorted.

    Args:
        name: one of :func:`fold_parts`.

    Raises:
        ValueError: there is no such part.
    """
    if name not in fold_parts():
        raise ValueError(f"No part is named {name!r} (expected one of {', '.join(fold_parts())}).")
    fold, part = name.removeprefix("fold").split("_")
    test = int(fold)
    val = test % FOLDS + 1
    train = [k for k in range(1, FOLDS + 1) if k not in (test, val)]
    chosen = {"train": train, "val": [val], "test": [test]}[part]
    return sorted(image_id for k in chosen for image_id in _read_fold(k))


def divide(labels: Mapping[str, Mapping[str, int]]) -> list[list[str]]:
    """The rule behind the lists: folds of alike numbers of images and of cells of each class.

    Images of the same field stay together. Those with the most cells come first, each to the fold
    that has the least so far, which leaves small ones to even out the rest. Images without a
    labelled cell of a class are evened out, too.

    Args:
        labels: {image id: {class: number of labels}} of all images, in any order.

    Returns:
        FOLDS sorted lists of ids.
    """
    classes = sorted({name for counts in labels.values() for name in counts})
    shares = {i: _features(labels[i], classes) for i in sorted(labels)}
    totals = np.maximum(sum(shares.values()), 1)
    groups = [(ids, sum(shares[i] for i in ids) / totals) for ids in _fields(labels)]
    groups.sort(key=lambda group: -group[1].sum())  # stable: equal ones by their ids
    folds, loads = [[] for _ in range(FOLDS)], np.zeros((FOLDS, len(totals)))
    for ids, share in groups:
        # The increase of the sum of squares over the folds, which is least where all are equal.
        fold = int(((loads + share) ** 2 - loads**2).sum(axis=1).argmin())
        folds[fold] += ids
        loads[fold] += share
    return [sorted(ids) for ids in folds]


def _features(counts, classes):
    """1 for the image; for each class its cells, and 1 where there are none."""
    cells = [counts.get(name, 0) for name in classes]
    return np.array([1, *cells, *(number == 0 for number in cells)], dtype=float)


def _fields(ids):
    """The ids in groups that show the same field, by their first id."""
    first = {f"BloodImage_{b:05}": f"BloodImage_{a:05}" for a, b in SAME_FIELD}
    groups = {}
    for image_id in sorted(ids):
        groups.setdefault(first.get(image_id, image_id), []).append(image_id)
    return [groups[key] for key in sorted(groups)]


def _read_fold(fold):
    return (_FOLDER / f"fold{fold}.txt").read_text(encoding="utf-8").split()
