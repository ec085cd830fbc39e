"""Detections of the tiles of a slide as cells of the slide, a row of tiles at a time."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise

import numpy as np

from bccd.counting.tiles import Tile, one_of_each
from bccd.detections import Detections


def join_rows(
    chosen: Iterable[int],
    tiles: list[Tile],
    size: tuple[int, int],
    found: Callable[[int], Detections],
) -> Iterator[Detections]:
    """What tiles show together, each cell once, in memory for two rows of tiles.

    A cell that reaches into the next row of tiles is kept until that has been seen.

    Args:
        chosen: indices of the tiles that were looked at, row by row.
        tiles: all tiles.
        size: (height, width) of the image that they are parts of.
        found: what the tile of an index shows, boxes in its pixels.

    Yields:
        cells, boxes in pixels of the image.
    """
    rows = [list(row) for _, row in groupby(chosen, key=lambda index: tiles[index].top)]
    pending, their_tiles = _gather([], size), np.empty(0, dtype=int)
    for row, following in pairwise([*rows, None]):
        parts = [_moved(found(index), tiles[index], size) for index in row]
        owners = np.repeat(row, [len(part) for part in parts]).astype(int)
        candidates, owners = _gather([pending, *parts], size), np.append(their_tiles, owners)
        kept = one_of_each(candidates, owners, tiles)
        candidates, owners = candidates[kept], owners[kept]
        next_top = np.inf if following is None else tiles[following[0]].top
        waits = candidates.boxes[:, 3] > next_top
        pending, their_tiles = candidates[waits], owners[waits]
        yield candidates[~waits]


def _moved(found, tile, size):
    offset = np.array([tile.left, tile.top] * 2, dtype=np.float32)
    return Detections(size, found.boxes + offset, found.scores, found.classes)


def _gather(parts, size):
    return Detections(
        size,
        np.concatenate([np.empty((0, 4), np.float32), *(part.boxes for part in parts)]),
        np.concatenate([np.empty(0, np.float32), *(part.scores for part in parts)]),
        np.concatenate([np.empty(0, np.int64), *(part.classes for part in parts)]),
    )
