"""Counting in a slide, from the file to its results."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from bccd.counting.area import CountedArea
from bccd.counting.count_notes import (
    crowding_notes,
    faults,
    pixel_size_notes,
    quality_notes,
    scale_notes,
    unlike_notes,
)
from bccd.counting.field import Scale
from bccd.counting.image_errors import ImageError, blame_image
from bccd.counting.image_quality import ImageQuality
from bccd.counting.intervals import Terms
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
from bccd.detections import Detections

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
            area = find_monolayer(slide, scale.diameter) if region is None else region
            grid = TileGrid(slide, counter.field, scale.diameter, area)
            _look(counter, grid, journal)
            cells = _write_cells(counter, slide, folder, scale, area, grid, journal)
            result = _sum_up(counter, slide, path, folder, scale, grid, cells)
            counted = grid, cells.counts, counter.class_names, result.area.micrometres_per_pixel
            write_tile_table(folder / TILES, *counted, cells.notes())
            if isinstance(area, MaskRegion):
                write_area(folder / AREA, area, slide.size)
            if pictures:
                copy, colors = small_copy(slide), counter.class_colors
                write_overview(folder / OVERVIEW, *copy, area, result.counts, colors, path.name)
                write_density(folder / DENSITY, *copy, *counted)
            journal.remove()
    return result


class _Cells(NamedTuple):
    """The cells of a slide in numbers.

    Attributes:
        counts: (tiles, K) by tile and class.
        full: tiles with as many detections as the detector can give.
        qualities: of the images of the tiles, where they were measured.
        terms: of the intervals of the counts; None: they have none.
    """

    counts: np.ndarray
    full: set[int]
    qualities: dict[int, ImageQuality]
    terms: Terms | None

    def notes(self) -> dict[int, str]:
        """What speaks against the counts of single tiles."""
        found = {index: list(faults(quality)) for index, quality in self.qualities.items()}
        for index in self.full:
            found[index] = [*found.get(index, ()), "there may be more cells"]
        return {index: ", ".join(notes) for index, notes in found.items() if notes}


def _look(counter: "CellCounter", grid: TileGrid, journal: Journal) -> None:
    """Detect in the tiles that are not finished."""
    left = [index for index in grid.chosen if index not in journal]
    with closing(map_ahead(lambda index: (index, grid.read(index)), left, AHEAD)) as tiles:
        done = len(grid.chosen) - len(left)
        for index, pixels in tqdm(tiles, total=len(grid.chosen), initial=done, unit="tile"):
            with blame_image("detection failed", counter.check):
                journal.add(index, *counter.field.look(pixels), counter.quality_of(pixels))


def _write_cells(
    counter: "CellCounter",
    slide: Slide,
    folder: Path,
    scale: Scale,
    area: Region,
    grid: TileGrid,
    journal: Journal,
) -> _Cells:
    """Join what the tiles show, and write the cells that count."""
    colors = dict(zip(counter.class_names, counter.class_colors, strict=True))
    counts, terms = np.zeros((len(grid.tiles), len(colors)), int), None
    full, qualities = set(), {}

    def read(index):
        found, is_full, quality = journal.read(index)
        if is_full:
            full.add(index)
        if quality is not None:
            qualities[index] = quality
        return found

    with CellsFile(folder / CELLS, colors) as cells:
        for found in join_rows(grid.chosen, grid.tiles, grid.size, read):
            found = counter.within(found.resized_to(slide.size), scale, area)
            if counter.intervals is not None:
                row = counter.intervals.terms(found, 0.0)
                terms = row if terms is None else terms + row
            counted = found[counter.is_counted(found)]
            cells.add(counted)
            np.add.at(counts, (grid.owners(counted.centres), counted.classes), 1)
    return _Cells(counts, full, qualities, terms)


def _sum_up(
    counter: "CellCounter",
    slide: Slide,
    path: Path,
    folder: Path,
    scale: Scale,
    grid: TileGrid,
    cells: _Cells,
) -> SlideResult:
    stated, pixels = slide.micrometres_per_pixel, float(grid.areas.sum())
    numbers, area = cells.counts.sum(axis=0), pixels / scale.diameter**2
    beyond = crowding_notes(int(numbers[counter.field.red_cell]), area)
    if cells.qualities:
        beyond += quality_notes(list(cells.qualities.values()), "tiles")
    if cells.full:
        beyond.append(
            f"{len(cells.full)} of {len(grid.chosen)} tiles have as many cells as the detector "
            "gives: there may be more"
        )
    intervals = None
    if cells.terms is not None:
        nothing = Detections(slide.size, np.empty((0, 4)), np.empty(0), np.empty(0, int))
        terms = cells.terms + counter.intervals.terms(nothing, area)
        beyond += unlike_notes(terms.counted.sum(), terms.variance.sum())
        bounds = counter.intervals.bounds(terms).T.tolist()
        if not beyond:
            intervals = dict(zip(counter.class_names, map(tuple, bounds), strict=True))
    return SlideResult(
        file=str(path),
        size=slide.size,
        counts=dict(zip(counter.class_names, numbers.tolist(), strict=True)),
        area=CountedArea(round(pixels), counter.trusted_pixel_size(scale, stated)),
        scale=scale,
        notes=(*scale_notes(scale), *pixel_size_notes(scale, stated), *beyond),
        folder=folder,
        intervals=intervals,
    )
