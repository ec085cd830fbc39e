"""The area in which cells were counted."""

from typing import NamedTuple


class CountedArea(NamedTuple):
    """The area in which cells were counted.

    Attributes:
        pixels: of the image, all of it or those of the region of interest.
        micrometres_per_pixel: as the file or the user states it; None: unknown.
    """

    pixels: int
    micrometres_per_pixel: float | None = None

    @property
    def mm2(self) -> float | None:
        """In square millimetres; None where the size of a pixel is unknown."""
        if self.micrometres_per_pixel is None:
            return None
        return self.pixels * self.micrometres_per_pixel**2 / 1e6
