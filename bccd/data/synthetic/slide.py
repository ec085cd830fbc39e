"""Synthetic slides: smears side by side in a pyramidal TIFF file of any size."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import tifffile

from bccd.data.synthetic.layout import place_cells, visible_boxes
from bccd.data.synthetic.painting import paint

EMPTY, MONOLAYER, THICK = "empty", "monolayer", "thick"
RED_CELL_SHARE = 0.184  # diameter of a red cell, of the side of a field
_LAYERS = 8  # smears on top of each other, in a thick field
_LEAST = 512  # pixels of the longer side of the smallest copy
Field = tuple[np.ndarray, np.ndarray, np.ndarray]  # pixels, boxes and classes, as of draw_smear


def draw_whole_smear(seed: int, side: int) -> Field:
    """A square smear like those of ``draw_smear``, whose cells all lie inside of it."""
    rng = np.random.default_rng(seed)
    cells = [cell for cell in place_cells(rng, side, side) if _is_inside(cell, side)]
    return (paint(rng, cells, side, side), *visible_boxes(cells, side, side))


def _is_inside(cell, side):
    rows, columns = cell.outline.window(side, side)
    return min(rows.start, columns.start) > 0 and max(rows.stop, columns.stop) < side


def draw_empty(seed: int, side: int) -> np.ndarray:
    """Glass without a cell: uint8 BGR (side, side, 3)."""
    return paint(np.random.default_rng(seed), [], side, side)


def draw_thick(fields: Sequence[np.ndarray], seed: int) -> np.ndarray:
    """Smears on top of each other, where no cell can be told from the next one."""
    rng = np.random.default_rng(seed)
    through = np.ones(fields[0].shape, np.float32)
    for index in rng.integers(len(fields), size=_LAYERS):
        moved = np.roll(fields[index], rng.integers(fields[0].shape[0], size=2), axis=(0, 1))
        through *= np.rot90(moved, rng.integers(4)) / np.float32(215)
    return np.rint(through.clip(0, 1) * 215).astype(np.uint8)


def by_columns(thick: float, empty: float) -> Callable[[float, float], str]:
    """The layout of a smear: a thick end, cells side by side, and glass.

    Args:
        thick, empty: shares of the slide's width at its left and right end.
    """

    def kind_at(x, y):
        return THICK if x < thick else EMPTY if x > 1 - empty else MONOLAYER

    return kind_at


class SlideOfFields:
    """A slide of square fields that repeat.

    Attributes:
        size: (height, width) in pixels.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        fields: Sequence[Field],
        kind_at: Callable[[float, float], str] = lambda x, y: MONOLAYER,
        seed: int = 0,
    ) -> None:
        """Arrange fields.

        Args:
            rows, columns: of fields.
            fields: square and of one size, a power of 2 and at least 64 pixels, with their cells.
            kind_at: the kind of the field at (x, y), which are shares of the slide.
            seed: which field stands where.
        """
        self._fields, side = fields, fields[0][0].shape[0]
        self.size, self._side = (rows * side, columns * side), side
        pictures = [field[0] for field in fields]
        pictures += [draw_thick(pictures, seed + i) for i in range(len(fields))]
        pictures += [draw_empty(seed + i, side) for i in range(len(fields))]
        self._pictures = {side: pictures}
        start = {MONOLAYER: 0, THICK: len(fields), EMPTY: 2 * len(fields)}
        chosen = np.random.default_rng(seed).integers(len(fields), size=(rows, columns))
        for row, column in np.ndindex(rows, columns):
            chosen[row, column] += start[kind_at((column + 0.5) / columns, (row + 0.5) / rows)]
        self._chosen = chosen

    def marks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Boxes (M, 4) in pixels of the slide and classes (M,) of each field of the monolayer."""
        for row, column in np.argwhere(self._chosen < len(self._fields)).tolist():
            _, boxes, classes = self._fields[self._chosen[row, column]]
            yield boxes + self._side * np.array([column, row] * 2, np.float32), classes

    def read(self, reduction: int, left: int, top: int, side: int) -> np.ndarray:
        """A square of the slide reduced by a power of 2; white beyond it. RGB."""
        small = max(1, self._side // reduction)
        if small not in self._pictures:
            self._pictures[small] = [
                cv2.resize(each, (small, small), interpolation=cv2.INTER_AREA)
                for each in self._pictures[self._side]
            ]
        out = np.full((side, side, 3), 255, np.uint8)
        rows, columns = self._chosen.shape
        for row in range(top // small, min(rows, -(-(top + side) // small))):
            for column in range(left // small, min(columns, -(-(left + side) // small))):
                y, x = row * small - top, column * small - left
                picture = self._pictures[small][self._chosen[row, column]]
                part = picture[max(0, -y) : side - y, max(0, -x) : side - x]
                out[max(0, y) : y + small, max(0, x) : x + small] = part
        return out[:, :, ::-1]


def write_slide(
    path: Path,
    slide: SlideOfFields,
    micrometres_per_pixel: float | None = None,
    *,
    tile: int = 256,
    quality: int = 90,
) -> None:
    """Write a slide tile by tile as a pyramidal TIFF file in JPEG tiles.

    Args:
        path: ``.ome.tif`` states the size of a pixel as OME does, other names by the resolution.
        slide: to write.
        micrometres_per_pixel: None: nothing is stated.
        tile: side of the tiles in pixels.
        quality: of the JPEG tiles.
    """
    height, width = slide.size
    is_ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    reductions = [1]
    while max(slide.size) // reductions[-1] > 2 * _LEAST:
        reductions.append(2 * reductions[-1])
    options = {"photometric": "rgb", "tile": (tile, tile), "dtype": np.uint8}
    options |= {"compression": "jpeg", "compressionargs": {"level": quality}}
    if micrometres_per_pixel and not is_ome:
        options |= {"resolution": (1e4 / micrometres_per_pixel,) * 2, "resolutionunit": 3}
    metadata = {"axes": "YXS"}
    if micrometres_per_pixel:
        metadata |= {f"PhysicalSize{axis}": micrometres_per_pixel for axis in "XY"}
    with tifffile.TiffWriter(path, bigtiff=height * width > 5e8, ome=is_ome) as writer:
        for reduction in reductions:
            shape = (height // reduction, width // reduction, 3)
            first = reduction == 1
            writer.write(
                _tiles(slide, reduction, shape, tile),
                shape=shape,
                subifds=len(reductions) - 1 if first else None,
                subfiletype=0 if first else 1,
                metadata=metadata if first and is_ome else None,
                **options,
            )


def _tiles(slide, reduction, shape, tile):
    for top in range(0, shape[0], tile):
        for left in range(0, shape[1], tile):
            yield slide.read(reduction, left, top, tile)
