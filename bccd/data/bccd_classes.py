"""The classes of BCCD, and of the sets that are annotated as it is."""

from collections.abc import Sequence

from bccd.data.classes import class_key

CLASS_NAMES = ("RBC", "WBC", "Platelets")


def in_bccd_order(names: Sequence[str]) -> list[str]:
    """``names``; where they are the classes of BCCD, in its order and spelling."""
    same = {class_key(name) for name in names} == {class_key(name) for name in CLASS_NAMES}
    return list(CLASS_NAMES if same else names)
