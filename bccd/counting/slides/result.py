"""What was counted in a slide."""

from dataclasses import dataclass
from pathlib import Path

from bccd.counting.area import CountedArea
from bccd.counting.field import Scale

TILES, AREA = "tiles.csv", "counted_area.geojson"
OVERVIEW, DENSITY = "overview.png", "density.png"


@dataclass(frozen=True)
class SlideResult:
    """What was counted in a slide.

    Attributes:
        file: the path of the slide.
        size: (height, width) in pixels at full resolution.
        counts: {class name: int}.
        area: ``pixels`` in which cells were counted, and ``mm2`` where the size of a pixel is
            known.
        scale: ``diameter`` of the red cells in pixels, and its ``source``; see ``CountResult``.
        notes: sentences, why the counts should not be trusted.
        intervals: {class name: (least, largest number)}, 95%; None: they are not known.
        folder: that holds ``cells.geojson``, ``tiles.csv`` and the pictures.
    """

    file: str
    size: tuple[int, int]
    counts: dict[str, int]
    area: CountedArea
    scale: Scale
    notes: tuple[str, ...]
    folder: Path
    intervals: dict[str, tuple[int, int]] | None = None
