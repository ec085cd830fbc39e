"""Which region of interest each image of a run has."""

import hashlib
import os
from pathlib import Path

from bccd.counting.regions.reading import (
    GEOJSON_SUFFIXES,
    MASK_SUFFIXES,
    RegionLike,
    to_region,
)
from bccd.counting.regions.region import MaskRegion, Region, RegionError
from bccd.data.images.image_source import ImageSource


class Regions:
    """The regions of interest of many images: one for all, or a folder with one for each.

    In a folder, the region of ``smear.tif`` is ``smear.tif.geojson``, ``smear.geojson`` or a mask
    such as ``smear.png``; that of its second page ``smear.tif#2.geojson`` or ``smear#2.png``.
    """

    def __init__(self, given: RegionLike | None = None) -> None:
        """Take the regions.

        Args:
            given: None: images count as a whole; the path of a folder; or as of ``to_region``.

        Raises:
            FileNotFoundError, RegionError: as ``to_region``; the folder holds no region.
        """
        self._folder = self._region = None
        is_path = isinstance(given, str | os.PathLike)
        if is_path and not os.fspath(given).strip():  # Path("") is the current folder
            raise RegionError("the region is an empty text; name a file, a folder or vertices")
        if is_path and Path(given).expanduser().is_dir():
            self._folder = Path(given).expanduser()
            if not self._files():
                suffixes = " ".join((*GEOJSON_SUFFIXES, *MASK_SUFFIXES))
                raise FileNotFoundError(f"{given} holds no region ({suffixes})")
        elif given is not None:
            self._region = to_region(given)

    def __bool__(self) -> bool:
        """Whether there are regions."""
        return self._folder is not None or self._region is not None

    @property
    def identity(self) -> str:
        """A text that differs where the regions do; empty without regions."""
        if self._folder is None:
            return self._region.identity if self._region else ""
        digest = hashlib.sha256()
        for path in self._files():
            digest.update(path.name.encode("utf-8", "surrogateescape") + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def of(
        self, image: ImageSource | None, size: tuple[int, int], *, reduced: bool = False
    ) -> Region | None:
        """The region of an image, checked.

        Args:
            image: None: it has no file.
            size: (height, width) of it in pixels.
            reduced: a mask may be smaller than the image, of the same proportions.

        Returns:
            None where all of it counts.

        Raises:
            RegionError: it has none in the folder, or one that does not fit.
        """
        region = self._region if self._folder is None else to_region(self._find(image))
        if reduced and isinstance(region, MaskRegion):
            region = region.enlarged_to(size)
        if region is not None:
            region.check(size)
        return region

    def _files(self):
        suffixes = (*GEOJSON_SUFFIXES, *MASK_SUFFIXES)
        return sorted(
            path
            for path in self._folder.iterdir()
            if path.suffix.lower() in suffixes and not path.name.startswith(".")
        )

    def _find(self, image):
        if image is None:
            raise RegionError("an image without a file has no region in a folder; give it one")
        stems = (image.path.name + image.page_suffix, image.path.stem + image.page_suffix)
        names = [stem + suffix for stem in stems for suffix in (*GEOJSON_SUFFIXES, *MASK_SUFFIXES)]
        for name in names:
            if (self._folder / name).is_file():
                return self._folder / name
        raise RegionError(
            f"{self._folder} has no region for {image.name}, such as {stems[1]}.geojson or "
            f"{stems[1]}.png"
        )
