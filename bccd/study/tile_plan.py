"""How a field is cut into tiles: at its full size, half of it, and so on."""

from typing import NamedTuple

TILE = 512  # side in pixels


class Level(NamedTuple):
    """A size in which a field can be had.

    Attributes:
        level: 0 is the full size, each next one half of it.
        width, height: in pixels.
        columns, rows: of tiles.
    """

    level: int
    width: int
    height: int
    columns: int
    rows: int


def plan_levels(width: int, height: int) -> list[Level]:
    """The levels of a field of so many pixels, down to one that is a single tile."""
    levels = []
    while True:
        columns, rows = -(-width // TILE), -(-height // TILE)
        levels.append(Level(len(levels), width, height, columns, rows))
        if columns == rows == 1:
            return levels
        width, height = -(-width // 2), -(-height // 2)


def tile_name(level: int, column: int, row: int) -> str:
    """The file of a tile."""
    return f"{level}_{column}_{row}.jpg"
