"""The three classes: their order, spellings and colours."""

CLASS_NAMES = ("RBC", "WBC", "Platelets")

# RGB, 0-255. Vermilion, blue and green stay apart for the colour-blind and, by their lightness, in
# grey print; all three stand out from a pink smear.
CLASS_COLORS = {
    "RBC": (200, 70, 0),
    "WBC": (0, 68, 136),
    "Platelets": (0, 200, 150),
}

# Every spelling that is accepted in a data set, in lower case. Any other name is an error.
_SPELLINGS = {
    "RBC": ("rbc", "rbcs", "red blood cell", "red blood cells"),
    "WBC": ("wbc", "wbcs", "white blood cell", "white blood cells"),
    "Platelets": ("platelets", "platelet"),
}
_CLASS_IDS = {
    spelling: CLASS_NAMES.index(name) for name, names in _SPELLINGS.items() for spelling in names
}


def class_id(name):
    """Contiguous class id (0 RBC, 1 WBC, 2 Platelets) of a class name as a data set spells it.

    Returns:
        int, or None where the name is none of the three classes.
    """
    return _CLASS_IDS.get(name.strip().lower())
