"""Classes that an image shows but that nobody annotated in it."""

import torch

from bccd.data.classes import CLASS_NAMES


def class_ids(names, key):
    """Class ids of ``names``, the value of the config key ``key``.

    Raises:
        ValueError: a name is not in ``CLASS_NAMES``.
    """
    unknown = [name for name in names if name not in CLASS_NAMES]
    if unknown:
        raise ValueError(f"{key} names {', '.join(unknown)}; use some of {', '.join(CLASS_NAMES)}")
    return [CLASS_NAMES.index(name) for name in names]


def mark_unlabelled(record, candidates):
    """Say in ``record["unlabelled"]`` which classes are not annotated in its image.

    Args:
        record (dict): in Detectron2's format, left unchanged.
        candidates (list[int]): classes that count as not annotated where they have no box.

    Returns:
        dict: the record with ``unlabelled`` (K,) bool over ``CLASS_NAMES``; the record itself if
        there are no candidates, or if it already says so.
    """
    if not candidates or "unlabelled" in record:
        return record
    annotated = {annotation["category_id"] for annotation in record["annotations"]}
    unlabelled = torch.zeros(len(CLASS_NAMES), dtype=torch.bool)
    unlabelled[[candidate for candidate in candidates if candidate not in annotated]] = True
    return {**record, "unlabelled": unlabelled}
