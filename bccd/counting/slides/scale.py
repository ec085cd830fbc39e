"""The scale of a slide: the diameter of its red cells, from some of its parts."""

from collections import Counter
from collections.abc import Iterator
from statistics import median

import numpy as np

from bccd.counting.field import ASSUMED, FILE, GIVEN, MEASURED, UNCERTAIN, FieldDetector, Scale
from bccd.counting.image_errors import ImageError
from bccd.counting.regions.region import Region
from bccd.counting.slides.monolayer import find_monolayer
from bccd.counting.slides.slide import Slide

PARTS = 8  # that are looked at, at most
_ENOUGH = 3  # parts of one mind
_CELLS_ACROSS = 10  # side of a part, relative to the diameter of red cells
_LONG_SIDE = 400  # pixels of the small copy, in which parts are chosen


def find_scale(
    slide: Slide, field: FieldDetector, micrometres_per_pixel: float | None, region: Region | None
) -> Scale:
    """The scale of a slide, from parts of its region or of what seems to be a monolayer.

    Args:
        slide: open.
        field: detects.
        micrometres_per_pixel: as the file states it; None: unknown.
        region: of interest; None: there is none.
    """
    stated = field.stated(micrometres_per_pixel)
    if stated and stated.source == GIVEN:
        return stated
    supposed = stated.diameter if stated else field.usual_diameter
    where = region if region is not None else _monolayer(slide, supposed)
    found = []
    for part in _parts(slide, round(_CELLS_ACROSS * supposed), where):
        found.append(field.find_scale(part, micrometres_per_pixel))
        source, number = Counter(scale.source for scale in found).most_common(1)[0]
        if number >= _ENOUGH and source in (FILE, MEASURED):
            break
    for source in (FILE, MEASURED, UNCERTAIN):
        diameters = [scale.diameter for scale in found if scale.source == source]
        others = [scale for scale in found if scale.source == MEASURED]
        if diameters and len(diameters) >= len(others):
            return Scale(median(diameters), source)
    return stated or Scale(field.usual_diameter, ASSUMED)


def _monolayer(slide, diameter):
    """Where there is one if red cells have this diameter; None where none is found."""
    try:
        return find_monolayer(slide, diameter)
    except ImageError:
        return None


def _parts(slide: Slide, side: int, where: Region | None) -> Iterator[np.ndarray]:
    """Parts of a slide, at full resolution, spread over what is neither brightest nor darkest."""
    height, width = slide.size
    factor = min(1.0, _LONG_SIDE / max(height, width))
    green = slide.read_reduced(factor)[..., 1].astype(np.float32)
    places, darkness = [], []
    for top in _starts(height, side):
        for left in _starts(width, side):
            rectangle = left, top, min(width, left + side), min(height, top + side)
            if where is not None and not where.area_in(rectangle):
                continue
            x0, y0, x1, y1 = (int(each * factor) for each in rectangle)
            places.append((top, left))
            darkness.append(-green[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)].mean())
    order = np.argsort(darkness, kind="stable")
    # From the middle of the order outwards, in steps that reach its ends.
    middle = np.argsort(np.abs(np.linspace(-1, 1, len(order))), kind="stable")
    for index in middle[:: max(1, len(middle) // PARTS)][:PARTS]:
        top, left = places[order[index]]
        yield slide[top : top + side, left : left + side]


def _starts(length, side):
    """Where parts start that are spread over a length, at most 60 of them."""
    count = min(60, max(1, length // side))
    return np.linspace(0, max(0, length - side), count).astype(int).tolist()
