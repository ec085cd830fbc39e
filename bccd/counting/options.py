"""What a run of counting is asked to do."""

import dataclasses
from collections.abc import Mapping

from bccd.counting.border import Border
from bccd.counting.load import ModelChoice


@dataclasses.dataclass(frozen=True)
class CountOptions:
    """What is counted, by which detector, and where the results go.

    Attributes:
        output: folder for the results.
        inputs: images, folders of images, and patterns.
        video: a video instead.
        choice: the detector.
        thresholds: see ``thresholds_by_class``.
        red_cell_diameter: of the images, in pixels; None: measured in each.
        micrometres_per_pixel: of the images; None: as their files state it, if they do.
        region: in which cells count, or a folder with one for each image, see
            ``CellCounter.stream``; None: all of each image.
        border: which of the cells count that the border of an image cuts, see ``CellCounter``.
        microlitre_factors: see ``summarise``; they change no count.
        pictures: write each image with its cells drawn.
        num_gpus: processes that share the images: one on each of so many GPUs, or on the CPU.
    """

    output: str
    inputs: tuple[str, ...] = ()
    video: str | None = None
    choice: ModelChoice = dataclasses.field(default_factory=ModelChoice)
    thresholds: float | Mapping[str, float] | None = None
    red_cell_diameter: float | None = None
    micrometres_per_pixel: float | None = None
    region: str | None = None
    border: Border = "all"
    microlitre_factors: float | Mapping[str, float] | None = None
    pictures: bool = True
    num_gpus: int = 1
