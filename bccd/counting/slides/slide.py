"""A slide, of which parts are read at any size."""

import atexit
import functools
import os
import warnings
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from bccd.counting.image_errors import ImageError
from bccd.data.images.pixel_size import plausible, read_pixel_size

# Bytes that have to be decoded at once. A slide that is not stored in small pieces takes as much
# memory as all of its pixels.
_LARGEST_PIECE = 128_000_000
_STRIP = 64_000_000  # bytes that are read at once
_SIDES = ("height", "width")
_LONGEST_END = 30  # seconds
_NEEDS = "slides need the package tiffslide, which is not installed: pip install '.[slides]'"


def import_tiffslide() -> ModuleType:
    """The package that reads slides; ImportError says how to install it."""
    try:
        import tiffslide
    except ImportError as error:
        raise ImportError(_NEEDS) from error
    _end_zarr_in_time()
    return tiffslide


@functools.cache
def _end_zarr_in_time():
    """Let the thread of zarr, which tiffslide reads with, end before zarr closes its loop at exit.

    zarr 3.1 waits a fifth of a second for it, and prints a traceback on a machine that is busy.
    """
    from zarr.core import sync

    def end():
        loop, thread = sync.loop[0], sync.iothread[0]
        if loop is not None and thread is not None and thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(timeout=_LONGEST_END)

    atexit.register(end)  # the last that is registered runs first


class Slide:
    """A slide; close it, or use it in a ``with`` block.

    ``slide[top:bottom, left:right]`` reads a part at full resolution: uint8 BGR (h, w, 3).

    Attributes:
        shape: (height, width, 3) at full resolution.
        micrometres_per_pixel: at full resolution, as the file states it; None: unknown.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        """Open a file.

        Raises:
            ImportError: ``tiffslide`` is not installed.
            FileNotFoundError: there is no such file.
            ImageError: it is no slide that can be read.
        """
        tiffslide = import_tiffslide()
        if not Path(path).is_file():
            raise FileNotFoundError(f"the slide {path} does not exist")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it does not know all of a vendor's metadata
            try:
                self._slide = tiffslide.TiffSlide(os.fspath(path))
                self._downsamples = list(self._slide.level_downsamples)
            except Exception as error:  # it raises whatever a damaged file makes of it
                raise ImageError(f"is no slide that can be read ({error})") from error
        width, height = self._slide.dimensions
        self.shape = (height, width, 3)
        if 3 * self._pixels_of_piece() > _LARGEST_PIECE:
            self.close()
            raise ImageError(
                "is not stored in tiles, so that it cannot be read in parts; convert it to a tiled "
                "TIFF, for example with vips tiffsave --tile --pyramid"
            )
        self.micrometres_per_pixel = read_pixel_size(path) or _plausible_mpp(self._slide)

    def _pixels_of_piece(self):
        """Of the tiles or strips in which the slide is stored."""
        sides = [self._slide.properties[f"tiffslide.level[0].tile-{s}"] for s in _SIDES]
        rows = int(sides[0]) or int(self._slide.ts_tifffile.pages.first.rowsperstrip)
        return min(rows, self.shape[0]) * min(int(sides[1]) or self.shape[1], self.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) at full resolution."""
        return self.shape[:2]

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        """See the class."""
        (top, bottom, _), (left, right, _) = (
            each.indices(side) for each, side in zip(part, self.size, strict=True)
        )
        return self._read(0, left, top, right - left, bottom - top)

    def read_reduced(self, factor: float, top: int = 0, bottom: int | None = None) -> np.ndarray:
        """Rows ``top`` to ``bottom`` of the slide as it is at ``factor`` of its size.

        Args:
            factor: at most 1.
            top, bottom: in pixels of the reduced slide; default: to its end.

        Returns:
            uint8 BGR array (bottom - top, w, 3).
        """
        height, width = self.reduced_size(factor)
        bottom = height if bottom is None else min(bottom, height)
        level = max(i for i, by in enumerate(self._downsamples) if by * factor <= 1.0001 or i == 0)
        columns, rows = self._slide.level_dimensions[level]
        # Without small copies, strips of the full resolution are read.
        strip = max(1, int(_STRIP * height / (3 * columns * rows)))
        out = np.empty((bottom - top, width, 3), np.uint8)
        for start in range(top, bottom, strip):
            stop = min(start + strip, bottom)
            first, last = (min(rows, round(y * rows / height)) for y in (start, stop))
            first = min(first, rows - 1)
            pixels = self._read(level, 0, first, columns, max(last, first + 1) - first)
            size = width, stop - start
            out[start - top : stop - top] = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        return out

    def reduced_size(self, factor: float) -> tuple[int, int]:
        """(height, width) of the slide at ``factor`` of its size."""
        return tuple(max(1, round(side * factor)) for side in self.size)

    def _read(self, level, left, top, width, height):
        """A part of a level, in pixels of it."""
        by = self._downsamples[level]
        place = round(left * by), round(top * by)  # tiffslide takes those of the full resolution
        try:
            pixels = self._slide.read_region(place, level, (width, height), as_array=True)
        except Exception as error:  # decoders raise whatever a damaged file makes of them
            raise ImageError(f"cannot be read at {place} ({error})") from error
        return _to_bgr(np.asarray(pixels))

    def close(self) -> None:
        """Close the file."""
        self._slide.close()

    def __enter__(self) -> "Slide":
        """Return the slide itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()


def _to_bgr(pixels):
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ImageError(
            f"holds {pixels.dtype} pixels of {pixels.shape[2:]} channels; slides are counted in "
            "colour of 8 bits"
        )
    return np.ascontiguousarray(pixels[:, :, 2::-1])


def _plausible_mpp(slide):
    width, height = (slide.properties.get(f"tiffslide.mpp-{axis}") or 0.0 for axis in "xy")
    return plausible(float(width), float(height))
