"""The regions of a result of Label Studio, whose values are percent of the image's sides."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bccd.data.formats.json_content import Entry, shown
from bccd.data.formats.shapes import Corners, around, ellipse, turned_rectangle

_MOST, _LEAST = 110, -10  # percent: beyond, a value is in pixels
_LABELS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")
_SHAPES = ("rectanglelabels", "rectangle", "polygonlabels", "polygon", "ellipselabels", "ellipse")
_OF_THE_IMAGE = (
    *("choices", "textarea", "rating", "taxonomy", "number", "datetime", "relation", "pairwise"),
    *("ranker", "labels"),
)
_WITHOUT_BOX = ("brushlabels", "brush", "keypointlabels", "keypoint", "vectorlabels", "vector")


class Region(NamedTuple):
    """A region that has a box.

    Attributes:
        label: its class.
        corners: in pixels.
        size: width and height of the image that it states.
        score: of a prediction; None: not stated.
        is_outline: it was drawn as another shape, or turned.
        where: for messages.
    """

    label: str
    corners: Corners
    size: tuple[int, int]
    score: float | None
    is_outline: bool
    where: str


def regions_of(results: Iterable[Entry], where: str) -> list[Region]:
    """The regions of the results of one annotation.

    Args:
        results: entries of its list; those of a region's shape and of its label may be two with
            one id, and those of the whole image (choices, relations) are passed over.
        where: for messages.

    Raises:
        ValueError: a region cannot be used; the message names it.
    """
    results = list(results)
    labels = {}
    for result in results:
        value = result.values.get("value", result.values)
        if isinstance(value, dict) and isinstance(result.values.get("id"), str):
            for key in _LABELS:
                if value.get(key):
                    labels.setdefault(result.values["id"], Entry(value, result.where))
    return [_region(result, labels) for result in _shapes(results)]


def _shapes(results: Iterable[Entry]) -> Iterator[Entry]:
    for result in results:
        kind = result.values.get("type")
        value = result.values.get("value", result.values)
        if kind in _WITHOUT_BOX or (isinstance(value, dict) and "brushlabels" in value):
            raise ValueError(
                f"{result.where}: a region of type {kind or 'brush'} has no box. Draw a rectangle "
                "instead, or remove it."
            )
        if kind in _SHAPES or (kind is None and "original_width" in result.values):
            yield result
        elif kind not in _OF_THE_IMAGE:
            raise ValueError(
                f"{result.where}: type is {shown(kind)}, which is not known. Export rectangles."
            )


def _region(result: Entry, labels: dict[str, Entry]) -> Region:
    if result.values.get("image_rotation") not in (None, 0):
        raise ValueError(
            f"{result.where}: the image was turned in Label Studio by image_rotation "
            f"{result.values['image_rotation']}. Turn it back there, or turn the file itself and "
            "mark it anew."
        )
    size = result.pixels("original_width"), result.pixels("original_height")
    value = result.entry("value") if result.has("value") else result
    corners, is_outline = _corners(value, size)
    key = result.values.get("id")
    label = _label(value, labels.get(key) if isinstance(key, str) else None, result.where)
    return Region(label, corners, size, result.score("score"), is_outline, result.where)


def _label(value, labelled, where):
    for entry in (value, labelled):
        for key in _LABELS if entry else ():
            if entry.has(key):
                names = entry.items(key)
                if len(names) != 1 or not isinstance(names[0], str) or not names[0].strip():
                    raise ValueError(f"{where}: {key} is {names}, expected one class.")
                return names[0].strip()
    raise ValueError(f"{where}: the region has no label. Give it one in Label Studio.")


def _corners(value: Entry, size: tuple[int, int]) -> tuple[Corners, bool]:
    if value.has("points"):
        return around(_pixels(value, x, y, size) for x, y in value.points("points")), True
    turn = value.number("rotation") if value.has("rotation") else 0
    x, y = _pixels(value, *value.numbers("x", "y"), size)
    if value.has("radiusX"):
        radii = _pixels(value, *value.numbers("radiusX", "radiusY"), size)
        return ellipse(x, y, *radii, turn), True
    width, height = _pixels(value, *value.numbers("width", "height"), size)
    corners = x, y, x + width, y + height
    return turned_rectangle(corners, turn, (x, y)), turn % 360 != 0


def _pixels(value, x, y, size):
    if not all(_LEAST <= percent <= _MOST for percent in (x, y)):
        raise ValueError(
            f"{value.where}: {x:g}, {y:g} are no percent of the image's sides. Export the boxes "
            "anew, in percent from 0 to 100."
        )
    return x * size[0] / 100, y * size[1] / 100
