"""Where on a slide there is a monolayer of cells: neither empty glass nor a thick smear.

A slide is looked at so small that a red cell has a few pixels. In a monolayer cells and the glass
between them alternate; on glass hardly a pixel is darker than the light, and where cells lie on
each other hardly one is not.
"""

import cv2
import numpy as np

from bccd.counting.image_errors import ImageError
from bccd.counting.regions.region import MaskRegion
from bccd.counting.slides.slide import Slide

PIXELS_PER_CELL = 5.0  # diameter of a red cell in the small copy
BLOCK_CELLS = 6  # side of the blocks that are judged, in red cells
# Share of a block's pixels that cells cover: in 115 fields of BCCD, PBC and Raabin .36 to .85.
LEAST_COVERED, MOST_COVERED = 0.1, 0.9
_STRIP = 512  # rows of the small copy that are read at once
# A block is cut into 3 x 3; of these so many show both cells and glass.
_SMALL_BLOCKS, LEAST_MIXED = 3, 0.5
_ALL_GLASS, _ALL_CELL = 0.03, 0.97
_GREEN = 1  # the channel that haemoglobin and the stains of nuclei absorb most
_LEAST_DENSITY, _CLUMP_DENSITY = 0.05, 0.5  # optical densities that are no noise, and not one cell
_OF_CELL = 0.4  # of the optical density of a cell, from which a pixel is covered


def find_monolayer(slide: Slide, diameter: float) -> MaskRegion:
    """The part of a slide where cells lie side by side.

    Args:
        slide: open.
        diameter: of red cells, in pixels at full resolution.

    Raises:
        ImageError: there is none.
    """
    factor = min(1.0, PIXELS_PER_CELL / diameter)
    block = max(1, round(BLOCK_CELLS * diameter * factor))
    mask = _without_specks(judge_blocks(_is_covered(_green(slide, factor)), block))
    if not mask.any():
        raise ImageError(
            "shows no monolayer of cells, only glass or thick parts; state where cells are to be "
            "counted (--region), or the diameter of red cells (--red-cell-diameter)"
        )
    return MaskRegion(mask, block / factor, "the monolayer")


def judge_blocks(covered: np.ndarray, block: int) -> np.ndarray:
    """Whether blocks show cells side by side: bool array.

    Args:
        covered: bool array (h, w), whether there is a cell at each pixel of the small copy.
        block: side of a block in pixels.
    """
    share = _blocks(covered, block)
    # At the edge of a thick part a block is half covered, too, but not everywhere in it.
    small = max(1, round(block / _SMALL_BLOCKS))
    parts = _blocks(covered, small)
    mixed = (parts > _ALL_GLASS) & (parts < _ALL_CELL)
    of_block = np.minimum(np.arange(covered.shape[0])[::small] // block, len(share) - 1)
    across = np.minimum(np.arange(covered.shape[1])[::small] // block, share.shape[1] - 1)
    alternates, number = np.zeros(share.shape), np.zeros(share.shape)
    np.add.at(alternates, np.ix_(of_block, across), mixed)
    np.add.at(number, np.ix_(of_block, across), 1)
    return (share >= LEAST_COVERED) & (share <= MOST_COVERED) & (alternates >= LEAST_MIXED * number)


def _green(slide, factor):
    """The green channel of the small copy, read in strips."""
    height, width = slide.reduced_size(factor)
    green = np.empty((height, width), np.uint8)
    for top in range(0, height, _STRIP):
        green[top : top + _STRIP] = slide.read_reduced(factor, top, top + _STRIP)[..., _GREEN]
    return green


def _is_covered(green):
    """Whether there is a cell at each pixel (h, w)."""
    # np.bincount would take eight times the memory.
    histogram = cv2.calcHist([green], [0], None, [256], [0, 256]).reshape(256)
    density = -np.log(np.maximum(np.arange(256), 1) / _light(histogram))
    single = (density > _LEAST_DENSITY) & (density < _CLUMP_DENSITY)
    if not histogram[single].sum():
        return np.zeros(green.shape, bool)
    order = np.argsort(density[single])
    below = np.cumsum(histogram[single][order])
    of_cell = density[single][order][np.searchsorted(below, below[-1] / 2)]
    return (density > max(_LEAST_DENSITY, _OF_CELL * of_cell))[green]


def _light(histogram):
    """The value of glass without a cell: the brightest one that many pixels have."""
    smooth = cv2.GaussianBlur(histogram[None], (0, 0), 2.5, borderType=cv2.BORDER_REPLICATE)[0]
    padded = np.pad(smooth, 1, constant_values=-1)
    peaks = np.flatnonzero((smooth >= padded[:-2]) & (smooth >= padded[2:]))
    high = peaks[smooth[peaks] >= 0.1 * smooth.max()]
    return float(max(high[-1], 1))


def _blocks(covered, block):
    """Mean of each block (h, w), the last ones of a row and column over what there is."""
    starts = np.arange(0, covered.shape[1], block)
    sums = [
        np.add.reduceat(covered[top : top + block].sum(axis=0, dtype=np.int32), starts)
        for top in range(0, covered.shape[0], block)
    ]
    rows, columns = (np.minimum(block, side - np.arange(0, side, block)) for side in covered.shape)
    return np.array(sums) / np.outer(rows, columns)


def _without_specks(mask):
    """Without single blocks that differ from those around them."""
    counts = cv2.blur(mask.astype(np.float32), (3, 3), borderType=cv2.BORDER_REPLICATE) * 9
    counts = np.rint(counts)
    return (mask & (counts >= 3)) | (counts >= 7)
