"""Counting in a slide, from the file to its results."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from bccd.counting.area import CountedArea
from bccd.counting.count_notes import pixel_size_notes, scale_notes
from bccd.counting.field import Scale
from bccd.counting.image_errors import ImageError, blame_image
from bccd.counting.progress import version
from bccd.counting.regions.per_image import Regions
from bccd.counting.regions.region import MaskRegion, Region
from bccd.counting.slides.cells_file import CELLS, CellsFile, write_area
from bccd.counting.slides.joining import join_rows
from bccd.counting.slides.journal import Journal
from bccd.counting.slides.monolayer import find_monolayer
from bccd.counting.slides.pictures import small_copy, write_density, write_overview
from bccd.counting.slides.result import AREA, DENSITY, OVERVIEW, TILES, SlideResult
from bccd.counting.slides.scale import find_scale
from bccd.counting.slides.slide import Slide
from bccd.counting.slides.tile_grid import TileGrid
from bccd.counting.slides.tile_table import write_tile_table
from bccd.data.images.image_source import ImageSource
from bccd.data.loading.ahead import map_ahead

if TYPE_CHECKING:  # it counts slides with this module
    from bccd.counting.counter import CellCounter

UNFINISHED = "unfinished"  # the folder of the journal, in that of the results
AHEAD = 4  # tiles that are read while the detector works on one


def count_slide(
    counter: "CellCounter", path: Path, folder: Path, regions: Regions, *, pictures: bool = True
) -> SlideResult:
    """Count in a slide; see ``CellCounter.count_slide``.

    Args:
        counter: counts.
        path: of the slide.
        folder: for the results; made where there is none.
        regions: of interest; where the slide has none, cells count in its monolayer.
        pictures: draw the counted area and the density.
    """
    if counter.field is None:
        raise ImageError(
            "is a slide, but the detector does not say at which magnification it was trained "
            "(COUNTING.RED_CELL_DIAMETER)"
        )
    with Slide(path) as slide:
        with blame_image("region of interest"):
            region = regions.of(ImageSource(path), slide.size, reduced=True)
        plan = {"slide": version(path), "region": region.identity if region else None}
        with closing(Journal(folder / UNFINISHED, plan | counter.settings)) as journal:
            scale = journal.scale
            if scale is None:
                stated = slide.micrometres_per_pixel
                scale = journal.scale = find_scale(slide, counter.field, stated, region)
            area = region or find_monolayer(slide, scale.diameter)
            grid = TileGrid(slide, counter.field, scale.diameter, area)
            _look(counter, grid, journal)
            counts, full = _write_cells(counter, slide, folder, scale, area, grid, journal)
            stated = slide.micrometres_per_pixel
            size = counter.trusted_pixel_size(scale, stated)
            notes = scale_notes(scale) + pixel_size_notes(scale, stated) + _full_notes(full, grid)
            result = SlideResult(
                file=str(path),
                size=slide.size,
                counts=dict(zip(counter.class_names, counts.sum(axis=0).tolist(), strict=True)),
                area=CountedArea(round(float(grid.areas.sum())), size),
                scale=scale,
                notes=tuple(notes),
                folder=folder,
            )
            write_tile_table(folder / TILES, grid, counts, counter.class_names, size, full)
            if isinstance(area, MaskRegion):
                write_area(folder / AREA, area, slide.size)
            if pictures:
                copy, colors, title = small_copy(slide), counter.class_colors, path.name
                write_overview(folder / OVERVIEW, *copy, area, result.counts, colors, title)
                write_density(folder / DENSITY, *copy, grid, counts, counter.class_names, size)
            journal.remove()
    return result


def _look(counter: "CellCounter", grid: TileGrid, journal: Journal) -> None:
    """Detect in the tiles that are not finished."""
    left = [index for index in grid.chosen if index not in journal]
    with closing(map_ahead(lambda index: (index, grid.read(index)), left, AHEAD)) as tiles:
        done = len(grid.chosen) - len(left)
        for index, pixels in tqdm(tiles, total=len(grid.chosen), initial=done, unit="tile"):
            with blame_image("detection failed", counter.check):
                journal.add(index, *counter.field.look(pixels))


def _write_cells(
    counter: "CellCounter",
    slide: Slide,
    folder: Path,
    scale: Scale,
    area: Region,
    grid: TileGrid,
    journal: Journal,
) -> tuple[np.ndarray, set[int]]:
    """Write the cells of a slide.

    Returns:
        their number by tile and class, (tiles, K), and the tiles that may have more.
    """
    colors = dict(zip(counter.class_names, counter.class_colors, strict=True))
    counts, full = np.zeros((len(grid.tiles), len(colors)), int), set()

    def read(index):
        found, is_full = journal.read(index)
        if is_full:
            full.add(index)
        return found

    with CellsFile(folder / CELLS, colors) as cells:
        for found in join_rows(grid.chosen, grid.tiles, grid.size, read):
            counted = counter.select(found.resized_to(slide.size), scale, area)
            cells.add(counted)
            np.add.at(counts, (grid.owners(counted.centres), counted.classes), 1)
    return counts, full


def _full_notes(full, grid):
    if not full:
        return []
    return [
        f"{len(full)} of {len(grid.chosen)} tiles have as many cells as the detector gives: there "
        "may be more"
    ]
