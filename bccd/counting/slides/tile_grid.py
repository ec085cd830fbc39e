"""The tiles of a slide, and which of them a cell belongs to."""

from itertools import pairwise

import numpy as np

from bccd.counting.field import FieldDetector
from bccd.counting.regions.region import Region
from bccd.counting.slides.slide import Slide
from bccd.counting.tiles import Tile
from bccd.data.images.resizing import resize, resize_part


class TileGrid:
    """The tiles of a slide in which cells are looked for.

    Tiles overlap, so each has a core, which ends in the middle of the overlaps: cores share no
    pixel and cover the slide.

    Attributes:
        size: (height, width) of the slide, resized for the detector.
        tiles: all of its tiles, in pixels of that, row by row.
        areas: by tile, pixels of the slide in which cells of its core count.
        chosen: indices of the tiles that hold a part of the region, in order.
    """

    def __init__(self, slide: Slide, field: FieldDetector, diameter: float, region: Region) -> None:
        """Plan the tiles.

        Args:
            slide: open.
            field: detects.
            diameter: of red cells, in pixels of the slide.
            region: in which cells count.
        """
        self.size, self.tiles = field.plan(slide, diameter)
        self._slide = slide
        places = [(tile.top, tile.bottom) for tile in self.tiles]
        self._rows = _boundaries(sorted(set(places)), slide.size[0] / self.size[0])
        places = [(tile.left, tile.right) for tile in self.tiles]
        self._columns = _boundaries(sorted(set(places)), slide.size[1] / self.size[1])
        self.shape = len(self._rows) - 1, len(self._columns) - 1
        self.areas = np.array([region.area_in(self.core(i)) for i in range(len(self.tiles))])
        self.chosen = [i for i, tile in enumerate(self.tiles) if region.area_in(self._place(tile))]

    def core(self, index: int) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) of a tile's core, in pixels of the slide."""
        row, column = divmod(index, self.shape[1])
        left, right = self._columns[column : column + 2]
        top, bottom = self._rows[row : row + 2]
        return left, top, right, bottom

    def owners(self, points: np.ndarray) -> np.ndarray:
        """Indices (P,) of the tiles whose cores hold points (P, 2), x and y in the slide."""
        column = np.searchsorted(self._columns[1:-1], points[:, 0], side="right")
        row = np.searchsorted(self._rows[1:-1], points[:, 1], side="right")
        return row * self.shape[1] + column

    def read(self, index: int) -> np.ndarray:
        """The pixels of a tile, as the detector shall see them."""
        if len(self.tiles) == 1:
            return resize(self._slide[:, :], self.size)
        return resize_part(self._slide, self.size, self.tiles[index])

    def _place(self, tile: Tile):
        """A tile in pixels of the slide."""
        factors = np.array(self._slide.size[::-1]) / np.array(self.size[::-1])
        return tuple((np.array(tile) * np.tile(factors, 2)).tolist())


def _boundaries(spans, factor):
    """Where cores begin and end on an axis, of the tiles' spans, in pixels of the slide."""
    middles = [(stop + start) / 2 for (_, stop), (start, _) in pairwise(spans)]
    return (np.array([spans[0][0], *middles, spans[-1][1]]) * factor).tolist()
