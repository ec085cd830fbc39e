"""Detecting in an image that is larger than the detector takes at once: in overlapping tiles.

A box that the edge of a tile cuts lies whole in the next one, as tiles overlap by more than the
largest cell; so boxes at such edges are dropped, and of two that show one cell in two tiles the
one farther from the edges is kept. The ``sahi`` library merges boxes of tiles as well, but by
overlap alone: it also merges two crowded cells of one tile, and keeps cut ones. It needs PyTorch.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bccd.detections import Detections

SAME_CELL = 0.5  # intersection over union of boxes of two tiles from which they show one cell
SAME_PART = 0.7  # share of a cut box that lies in another from which they show one cell
CUT = 2.0  # pixels from the edge of a tile within which a box counts as cut


class Tile(NamedTuple):
    """A part of an image, in its pixels."""

    left: int
    top: int
    right: int
    bottom: int


def plan_tiles(height: int, width: int, largest: int, overlap: int) -> list[Tile]:
    """Tiles of almost one size that cover an image, row by row.

    Args:
        height, width: of the image, in pixels.
        largest: number of pixels of a tile that must not be exceeded.
        overlap: of neighbouring tiles, in pixels.

    Raises:
        ValueError: tiles of that size would be all overlap.
    """
    if largest < (2 * overlap) ** 2 and height * width > largest:
        raise ValueError(f"tiles of {largest} pixels are too small for an overlap of {overlap}")
    rows, columns = _divide(height, width, largest, overlap)
    vertical, horizontal = _starts(height, rows, overlap), _starts(width, columns, overlap)
    return [
        Tile(left, top, right, bottom) for top, bottom in vertical for left, right in horizontal
    ]


def _divide(height, width, largest, overlap):
    """The numbers of rows and columns with the least area in all."""
    best = None
    for rows in range(1, height // overlap + 2):
        tall = _side(height, rows, overlap)
        wide = largest // tall
        if wide < min(width, 2 * overlap):
            continue
        columns = 1 if wide >= width else -(-(width - overlap) // (wide - overlap))
        cost = rows * columns * tall * _side(width, columns, overlap)
        if best is None or cost < best[0]:
            best = cost, rows, columns
        if columns == 1:
            break
    return best[1:]


def _side(length, count, overlap):
    return -(-(length + (count - 1) * overlap) // count)


def _starts(length, count, overlap):
    side = _side(length, count, overlap)
    starts = [min(i * (side - overlap), length - side) for i in range(count)]
    return [(start, start + side) for start in starts]


def detect_in_tiles(
    detect: Callable[[Tile], Detections], size: tuple[int, int], tiles: list[Tile]
) -> Detections:
    """Detect in every tile, and join what they show.

    Args:
        detect: what a tile shows, boxes in its pixels.
        size: (height, width) of the image.
        tiles: see :func:`plan_tiles`; they overlap by more than the largest cell.
    """
    return join([_moved(detect(tile), tile, size) for tile in tiles], tiles)


def _moved(found, tile, size):
    offset = np.array([tile.left, tile.top] * 2, dtype=np.float32)
    return Detections(size, found.boxes + offset, found.scores, found.classes)


def join(found: list[Detections], tiles: list[Tile]) -> Detections:
    """What tiles show together, each cell once; most confident first.

    Args:
        found: of each tile, in pixels of the image.
        tiles: in the same order.
    """
    if len(found) == 1:
        return found[0]
    size = found[0].image_size
    boxes, scores, classes = (
        np.concatenate([getattr(part, name) for part in found])
        for name in ("boxes", "scores", "classes")
    )
    tile = np.repeat(np.arange(len(found)), [len(part) for part in found])
    kept = one_of_each(Detections(size, boxes, scores, classes), tile, tiles)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    return Detections(size, boxes[kept], scores[kept], classes[kept])


def one_of_each(found: Detections, tile: np.ndarray, tiles: list[Tile]) -> np.ndarray:
    """Indices of one detection for each cell, of what several tiles show.

    Args:
        found: in pixels of the image.
        tile: (P,) index of the tile that shows each.
        tiles: of the image.
    """
    cut, distance = _edges(found.boxes, np.array(tiles)[tile], found.image_size)
    return _suppress(found.boxes, found.scores, found.classes, tile, cut, distance)


def _edges(boxes, tiles, size):
    """Whether an edge of its tile inside the image cuts a box (P,), and its centre's distance."""
    height, width = size
    inner = np.array([0, 0, width, height]) != tiles  # edges that are not the image's
    gaps = np.abs(boxes - tiles)
    cut = (inner & (gaps <= CUT)).any(axis=1)
    centres = np.tile((boxes[:, :2] + boxes[:, 2:]) / 2, 2)
    distance = np.where(inner, np.abs(centres - tiles), np.inf).min(axis=1)
    return cut, distance


def _suppress(boxes, scores, classes, tile, cut, distance):
    """Indices of one box for each cell: whole ones first, then those farther from the edges."""
    reach = boxes[:, 2:].max(initial=0) + 1
    order = np.lexsort((-scores, -distance.clip(max=reach), cut))
    rank = np.empty(len(order), dtype=int)
    rank[order] = np.arange(len(order))
    kept = np.ones(len(boxes), dtype=bool)
    by_left = np.argsort(boxes[:, 0], kind="stable")
    lefts = boxes[by_left, 0]
    widest = (boxes[:, 2] - boxes[:, 0]).max(initial=0)
    for index in order:
        if not kept[index]:
            continue
        low, high = np.searchsorted(lefts, [boxes[index, 0] - widest, boxes[index, 2]])
        near = by_left[low:high]
        near = near[
            kept[near]
            & (rank[near] > rank[index])
            & (tile[near] != tile[index])
            & (classes[near] == classes[index])
        ]
        kept[near[_same_cell(boxes[index], boxes[near], cut[near])]] = False
    return np.flatnonzero(kept)


def overlap_of(box: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas that boxes (..., 4) and others (P, 4) have in common, and of their unions."""
    corner = np.minimum(box[..., 2:], others[:, 2:]) - np.maximum(box[..., :2], others[:, :2])
    common = corner.clip(min=0).prod(axis=-1)
    areas, own = ((b[..., 2:] - b[..., :2]).prod(axis=-1) for b in (others, box))
    return common, areas + own - common


def _same_cell(box, others, cut):
    common, union = overlap_of(box, others)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    return (common >= SAME_CELL * union) | (cut & (common >= SAME_PART * areas))
