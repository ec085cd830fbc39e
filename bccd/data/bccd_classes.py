"""The classes of BCCD, and of the sets that are annotated as it is."""

from bccd.data.classes import find_class

CLASS_NAMES = ("RBC", "WBC", "Platelets")


def class_id(name: str) -> int | None:
    """0, 1 or 2 of a class of BCCD as a data set spells it; None: it is none of the three."""
    return find_class(name, CLASS_NAMES)
