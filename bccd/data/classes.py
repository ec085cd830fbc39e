"""Classes of a data set and of a model: matching of names, and colours.

The names themselves are data: a data set has them in its metadata, a model in MODEL.CLASS_NAMES, in
its checkpoint and in its exported file. Those of BCCD are in ``bccd.data.bccd_classes``.
"""

import colorsys
import difflib
from collections.abc import Sequence
from itertools import count

Color = tuple[int, int, int]  # red, green, blue, 0 to 255

# Kinds of cells that data sets spell in several ways. The names are compared without spaces.
_SPELLINGS = {
    "rbc": (
        "rbcs",
        "red cell",
        "red cells",
        "red blood cell",
        "red blood cells",
        "erythrocyte",
        "erythrocytes",
    ),
    "wbc": (
        "wbcs",
        "white cell",
        "white cells",
        "white blood cell",
        "white blood cells",
        "leukocyte",
        "leukocytes",
        "leucocyte",
        "leucocytes",
    ),
    "platelets": ("platelet", "plt", "thrombocyte", "thrombocytes"),
}
# Vermilion, blue and green stay apart for the colour-blind and, by their lightness, in grey print;
# all three stand out from a pink smear.
_KNOWN_COLORS = {"rbc": (200, 70, 0), "wbc": (0, 68, 136), "platelets": (0, 200, 150)}
# Of other names, in this order, without what a known one of the same model has. After Okabe and
# Ito, "Color Universal Design" (2008).
_PALETTE = (
    *_KNOWN_COLORS.values(),
    (240, 228, 66),
    (86, 180, 233),
    (0, 0, 0),
    (230, 159, 0),
    (204, 121, 167),
)
_SIMILAR = 0.8  # ratio of difflib from which one name is taken for a misspelling of the other


def _plain(name):
    return "".join(str(name).split()).casefold()


_KEYS = {_plain(spelling): key for key, names in _SPELLINGS.items() for spelling in (key, *names)}


def class_key(name: str) -> str:
    """What two spellings of one class have in common: case and spaces do not count."""
    plain = _plain(name)
    return _KEYS.get(plain, plain)


def find_class(name: str, class_names: Sequence[str]) -> int | None:
    """Position in ``class_names`` of the class that ``name`` spells; None: it is none of them."""
    keys = [class_key(each) for each in class_names]
    key = class_key(name)
    return keys.index(key) if key in keys else None


def same_classes(names: Sequence[str], others: Sequence[str]) -> bool:
    """Whether both name the same classes, in any accepted spelling, in the same order."""
    return [class_key(name) for name in names] == [class_key(name) for name in others]


def check_class_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """The names as a tuple.

    Args:
        names: of the classes.
        where: they come from, for messages.

    Raises:
        ValueError: there is none, one is not a text, or two spell one class.
    """
    if isinstance(names, str) or not names:
        raise ValueError(f"{where} is {names!r}; expected the names of one class or more")
    first = {}
    for name in names:
        if not isinstance(name, str) or not _plain(name):
            raise ValueError(f"{where} has {name!r}; expected a name")
        if (key := class_key(name)) in first:
            raise ValueError(f"{where} has {first[key]!r} and {name!r}, which are one class")
        first[key] = name
    return tuple(names)


def suggest_class(name: str, class_names: Sequence[str]) -> str | None:
    """The class that ``name``, which is none of them, probably misspells; else None.

    A known kind of cell is never taken for a misspelling: RBC and WBC differ by one letter.
    """
    plain = _plain(name)
    if plain in _KEYS:
        return None
    for other in class_names:
        if sorted(plain) == sorted(_plain(other)):
            return other
    similar = difflib.get_close_matches(plain, map(_plain, class_names), 1, _SIMILAR)
    return next(other for other in class_names if _plain(other) == similar[0]) if similar else None


def class_colors(
    names: Sequence[str], colors: Sequence[Sequence[int]] | None = None
) -> tuple[Color, ...]:
    """RGB colour, 0-255, of each class.

    Args:
        names: of the K classes.
        colors: K colours that a data set or model states; None or empty: the kinds of cells that
            BCCD has keep their colours, and others get those of a palette, in their order.

    Raises:
        ValueError: ``colors`` are not K colours.
    """
    if colors:
        return _check_colors(names, colors)
    keys = [class_key(name) for name in names]
    taken = {_KNOWN_COLORS[key] for key in keys if key in _KNOWN_COLORS}
    free = (color for color in _palette() if color not in taken)
    return tuple(_KNOWN_COLORS.get(key) or next(free) for key in keys)


def _check_colors(names, colors):
    good = len(colors) == len(names) and all(
        len(color) == 3 and all(0 <= value <= 255 for value in color) for color in colors
    )
    if not good:
        raise ValueError(
            f"the colours {list(colors)} do not fit the classes {', '.join(names)}: expected red, "
            "green and blue, 0 to 255, of each"
        )
    return tuple(tuple(round(value) for value in color) for color in colors)


def _palette():
    """Endless colours: beyond those that are chosen, hues far from the ones before."""
    yield from _PALETTE
    for i in count():
        hue, lightness = i * 0.618 % 1, (0.35, 0.65)[i % 2]
        yield tuple(round(255 * value) for value in colorsys.hls_to_rgb(hue, lightness, 0.9))
