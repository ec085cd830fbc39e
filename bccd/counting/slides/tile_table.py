"""Counts of the tiles of a slide as a table."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from bccd.counting.area import CountedArea
from bccd.counting.slides.tile_grid import TileGrid


def write_tile_table(
    path: Path,
    grid: TileGrid,
    counts: np.ndarray,
    class_names: Sequence[str],
    micrometres_per_pixel: float | None,
    notes: Mapping[int, str],
) -> None:
    """Write a CSV file with a row for each tile in which cells were counted.

    Columns: ``left``, ``top``, ``right`` and ``bottom`` of the tile's core, in pixels of the slide;
    ``area_px`` and ``area_mm2``, in which its cells count; the number of cells of each class,
    ``total``; and ``notes``. Cores share no pixel, so the rows add up to the counts of the slide.

    Args:
        path: of the file.
        grid: of the slide.
        counts: (tiles, K) cells by tile and class.
        class_names: of the K classes.
        micrometres_per_pixel: None: unknown.
        notes: by index of the tiles that have one.
    """
    with open(path, "w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        place = ["left", "top", "right", "bottom", "area_px", "area_mm2"]
        table.writerow([*place, *class_names, "total", "notes"])
        # Rounded so that they add up to the rounded area of the slide.
        pixels = np.diff(np.rint(np.cumsum(grid.areas)).astype(int), prepend=0).tolist()
        for index in range(len(grid.tiles)):
            area = CountedArea(pixels[index], micrometres_per_pixel)
            if not area.pixels and not counts[index].any():
                continue
            corners = [round(each, 1) for each in grid.core(index)]
            numbers = counts[index].tolist()
            mm2 = None if area.mm2 is None else float(f"{area.mm2:.6g}")
            table.writerow(
                [*corners, area.pixels, mm2, *numbers, sum(numbers), notes.get(index, "")]
            )
