"""Why the count of an image should not be trusted."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from bccd.counting.field import ASSUMED, RED_CELL_MICROMETRES, UNCERTAIN, Scale, agree
from bccd.counting.image_quality import ImageQuality, median_quality

# Sides of an image, relative to those of the images the detector was trained on, where the scale is
# not measured. Windows of a large field of BCCD's cells, counted by ssd_lite and sparse_rcnn_lite,
# have 9% and 17% fewer cells per area at 1.25, 23% and 29% fewer at 1.5, 41% and 54% fewer at 2; at
# 0.75 14% and 32% more (cells that the border cuts count, too), at 0.5 39% and 111% more.
LARGEST, SMALLEST = 1.25, 0.7

# The following limits lie between the validation images of three laboratories and the same images
# spoiled; results/notes.json and docs/results.md say how often the notes are right.
WIDEST_EDGE = 0.08  # of the sharpest edges, relative to the diameter of red cells
DARKEST_GROUND, MOST_BURNT, MOST_COVERED, MOST_NOISE = 150, 0.3, 0.72, 15  # see ``ImageQuality``
LARGEST_TINT = 0.04
# Share of the parts of a large field, or of the tiles of a slide, and their number.
SOME_PARTS, LEAST_PARTS = 0.2, 2
COARSEST = 0.25  # diameter of red cells in an image, relative to that which the detector sees
NARROWEST = 2.5  # shorter side of an image, in red cells
# Red cells in the area of their diameter squared: 1.15 lie side by side at most, as circles do.
DENSEST = 1.05
MOST_UNSURE = 0.4  # variance of the number of cells, relative to the number that counts
MOST_CUT, FEW = 0.85, 5  # share of the cells that the border cuts, and how many say something


def is_grey(image: np.ndarray) -> bool:
    """Whether an image (H, W, 3) has no colour at all, which a photograph of a stain has."""
    return bool((image[..., :2] == image[..., 1:]).all())


def size_notes(size: tuple[int, int], field_size: Sequence[int]) -> list[str]:
    """What speaks against a count in an image whose scale is not known.

    Args:
        size: (height, width) of the image, in pixels.
        field_size: of the images that the detector was trained on; empty: unknown.
    """
    if not field_size or _is_like(size, field_size):
        return []
    height, width = field_size
    return [
        f"{size[1]} x {size[0]} pixels, but the detector was trained on images of about "
        f"{width} x {height}: do not trust this count"
    ]


def scale_notes(scale: Scale) -> list[str]:
    """What speaks against a count at this scale."""
    if scale.source == ASSUMED:
        return [
            "no or few red cells show the magnification, so a diameter of "
            f"{scale.diameter:.0f} pixels is assumed: state it (--red-cell-diameter)"
        ]
    if scale.source == UNCERTAIN:
        return [
            f"few red cells show the magnification, so their diameter of {scale.diameter:.0f} "
            "pixels is uncertain: check it, or state it (--red-cell-diameter)"
        ]
    return []


def pixel_size_notes(scale: Scale, micrometres_per_pixel: float | None) -> list[str]:
    """What speaks against the size of a pixel that the file of an image states (None: nothing)."""
    if micrometres_per_pixel is None or agree(scale, micrometres_per_pixel):
        return []
    expected = RED_CELL_MICROMETRES / micrometres_per_pixel
    if scale.source in (UNCERTAIN, ASSUMED):
        return [
            f"the file states {micrometres_per_pixel:.3g} micrometres per pixel, by which red "
            f"cells would be {expected:.0f} pixels wide: the detector does not find such cells"
        ]
    return [
        f"the file states {micrometres_per_pixel:.3g} micrometres per pixel, by which red cells "
        f"would be {expected:.0f} pixels wide, but {scale.diameter:.0f} were {scale.source}: check "
        "which is right, and state it (--red-cell-diameter)"
    ]


def grey_notes(image: np.ndarray) -> list[str]:
    """What speaks against a count in an image (H, W, 3), if it has no colour.

    Of 30 fields of BCCD made grey, ssd_lite and sparse_rcnn_lite find none of the white cells and
    platelets.
    """
    if not is_grey(image):
        return []
    return [
        "a grey image, but the detector knows cells by the colours of their stain: do not trust "
        "this count"
    ]


def quality_notes(parts: Sequence[ImageQuality], what: str = "parts of the image") -> list[str]:
    """What speaks against a count in an image of this quality.

    Args:
        parts: of the image, or the whole of it.
        what: they are called.
    """
    whole = faults(median_quality(parts))
    notes = [f"{fault}: {why}" for fault, why in whole.items()]
    number = Counter(fault for part in parts for fault in faults(part))
    return notes + [
        f"{fault} in {count} of the {len(parts)} {what}"
        for fault, count in number.items()
        if fault not in whole and count >= max(LEAST_PARTS, SOME_PARTS * len(parts))
    ]


def faults(quality: ImageQuality) -> dict[str, str]:
    """What is wrong with an image or a part of it, and the measurement that says so."""
    found = {}
    if quality.edge_width > WIDEST_EDGE:
        width = f"{quality.edge_width:.0%} of a red cell's diameter"
        found["out of focus"] = f"the sharpest edges are blurred over {width}"
    if quality.burnt > MOST_BURNT:
        found["over-exposed"] = f"{quality.burnt:.0%} of the image is white, without any detail"
    if quality.ground < DARKEST_GROUND:
        ground = f"{quality.ground:.0f} of 255 grey values"
        found["under-exposed"] = f"the ground between the cells has {ground}"
    if quality.covered > MOST_COVERED:
        found["crowded beyond counting"] = f"cells cover {quality.covered:.0%} of the image"
    if quality.noise > MOST_NOISE:
        found["noisy"] = f"neighbouring pixels differ by {quality.noise:.0f} grey values"
    if quality.tint > LARGEST_TINT:
        found["colours exchanged"] = (
            "what is darkest absorbs more blue than red light, and nuclei do the opposite; check "
            "the order of the channels"
        )
    return found


def resolution_notes(size: tuple[int, int], diameter: float, known: float) -> list[str]:
    """What speaks against a count in an image that shows few pixels of a cell, or hardly a cell.

    Args:
        size: (height, width) of the image, in pixels.
        diameter: of its red cells, in pixels.
        known: the same as the detector sees it.
    """
    notes, (height, width) = [], (side / diameter for side in size)
    if diameter < COARSEST * known:
        notes.append(
            f"coarse: a red cell is {diameter:.0f} pixels wide, which do not show its details"
        )
    if min(height, width) < NARROWEST:
        notes.append(
            f"too small: the image is {width:.1f} x {height:.1f} red cells wide, so that its "
            "border cuts most of them"
        )
    return notes


def crowding_notes(red_cells: int, area: float) -> list[str]:
    """What speaks against a count of so many red cells.

    Args:
        red_cells: their number.
        area: in which they lie, relative to the square of their diameter.
    """
    if red_cells < FEW or red_cells <= DENSEST * area:
        return []
    return ["crowded beyond counting: more red cells than can lie side by side"]


def unlike_notes(counted: float, variance: float) -> list[str]:
    """What speaks against a count of cells that the detector is not sure of.

    Args:
        counted: number of cells.
        variance: of their true number, by the detector's probabilities, see ``Terms``.
    """
    if variance <= MOST_UNSURE * max(counted, FEW):
        return []
    return [
        "unlike the images that the detector was calibrated on: it is not sure which of its "
        "detections are cells"
    ]


def border_notes(cells: int, cut: int) -> list[str]:
    """What speaks against a count of ``cells`` of which the border cuts ``cut``."""
    if cells < FEW or cut <= MOST_CUT * cells:
        return []
    return [
        f"the border cuts {cut} of the {cells} cells: count in larger fields, or state which of "
        "them count (--border)"
    ]


def full_notes(limit: int | None = None) -> list[str]:
    """What speaks against a count of as many detections as the detector can give.

    Args:
        limit: that number for the whole image; None: it is of a part.
    """
    if limit is None:
        return ["a part of the image has as many cells as the detector gives: there may be more"]
    return [f"{limit} detections are the most that the detector gives: there may be more"]


def _is_like(size, field_size):
    sides = zip(sorted(size), sorted(field_size), strict=True)
    short, long = (side / trained for side, trained in sides)
    return short >= SMALLEST and max(short, long) <= LARGEST
