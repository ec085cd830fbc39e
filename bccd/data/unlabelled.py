"""Classes that an image shows but that nobody annotated in it."""

import logging
from collections.abc import Sequence

import torch
from detectron2.utils.logger import log_first_n

from bccd.data.classes import find_class, suggest_class


def class_ids(names: Sequence[str], key: str, class_names: Sequence[str]) -> list[int]:
    """Class ids of ``names``, the value of the config key ``key``.

    A name of a class that the model lacks has no effect, so that one config serves several sets of
    classes; the log says so.

    Args:
        names: of some classes.
        key: for messages.
        class_names: of the model.

    Raises:
        ValueError: a name that the model lacks is likely a misspelling of one that it has.
    """
    absent = [name for name in names if find_class(name, class_names) is None]
    for name in absent:
        if similar := suggest_class(name, class_names):
            raise ValueError(f"{key} names {name}; did you mean {similar}?")
    if absent:
        log_first_n(
            logging.INFO,
            f"{key}: no effect for {', '.join(absent)}; the classes are {', '.join(class_names)}",
            name=__name__,
            key="message",
        )
    return [find_class(name, class_names) for name in names if name not in absent]


def mark_unlabelled(record: dict, candidates: Sequence[int], num_classes: int) -> dict:
    """Say in ``record["unlabelled"]`` which classes are not annotated in its image.

    Args:
        record: in Detectron2's format, left unchanged.
        candidates: classes that count as not annotated where they have no box.
        num_classes: K, of the model.

    Returns:
        the record with ``unlabelled`` (K,) bool; the record itself if there are no candidates, or
        if it already says so.
    """
    if not candidates or "unlabelled" in record:
        return record
    annotated = {annotation["category_id"] for annotation in record["annotations"]}
    unlabelled = torch.zeros(num_classes, dtype=torch.bool)
    unlabelled[[candidate for candidate in candidates if candidate not in annotated]] = True
    return {**record, "unlabelled": unlabelled}
