"""Splitting a data set into training, validation and test part."""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bccd.data.classes import class_key
from bccd.data.formats.annotated_image import AnnotatedImage

PARTS = ("train", "val", "test")
SHARES = {"val": 0.15, "test": 0.15}  # of the images; the rest is for training
_TRIALS = 50  # random splits of which the one that shows most classes in most parts is taken


def split_groups(
    groups: Sequence[Sequence[str]], images: Mapping[str, AnnotatedImage], seed: int
) -> dict[str, list[str]]:
    """Split groups of images at random, so that every part shows as many classes as it can.

    Args:
        groups: of names, as :func:`bccd.data.checks.near_duplicates.group_fields` gives them.
        images: name to image.
        seed: the same seed gives the same split.

    Returns:
        "train", "val" and "test" to names, in the order of ``images``.

    Raises:
        ValueError: there are fewer than three groups.
    """
    if len(groups) < len(PARTS):
        raise ValueError(
            f"{len(images)} images in {len(groups)} different fields cannot be split into "
            "training, validation and test part: annotate at least 3 different fields, better 30"
        )
    classes = {name: {class_key(box.name) for box in image.boxes} for name, image in images.items()}
    trials = (_split_once(groups, len(images), f"{seed} {i}") for i in range(_TRIALS))
    parts = max(trials, key=lambda parts: _shown_classes(parts, classes))
    order = {name: i for i, name in enumerate(images)}
    return {part: sorted(parts[part], key=order.get) for part in PARTS}


def _split_once(groups, size, seed):
    order = list(groups)
    random.Random(seed).shuffle(order)
    parts = {}
    for needed, part in ((2, "val"), (1, "test")):  # groups that the parts after it need
        wanted = max(round(SHARES[part] * size), 1)
        chosen = []
        for group in list(order):
            if len(chosen) + len(group) <= wanted and len(order) > needed:
                chosen += group
                order.remove(group)
        if not chosen:  # all are larger than the part
            chosen = min(order, key=len)
            order.remove(chosen)
        parts[part] = chosen
    return {"train": [name for group in order for name in group], **parts}


def _shown_classes(parts, classes):
    """Numbers of classes in the parts, what training misses counting most."""
    shown = {part: set().union(*(classes[name] for name in parts[part])) for part in PARTS}
    return [len(shown[part]) for part in PARTS]


def count_boxes(images: Iterable[AnnotatedImage]) -> Counter:
    """Boxes by ``class_key`` of their class."""
    return Counter(class_key(box.name) for image in images for box in image.boxes)
