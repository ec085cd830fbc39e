"""What is known of an image beside its pixels."""

from typing import NamedTuple

from bccd.counting.regions.per_image import Regions
from bccd.counting.regions.region import Region
from bccd.data.images.decoding import is_url
from bccd.data.images.image_source import ImageSource
from bccd.data.images.pixel_size import read_pixel_size


class FieldInfo(NamedTuple):
    """What is known of an image beside its pixels.

    Attributes:
        micrometres_per_pixel: as its file states it; None: unknown.
        region: in which its cells count; None: all of it.
    """

    micrometres_per_pixel: float | None = None
    region: Region | None = None

    @classmethod
    def read(
        cls, source: ImageSource | str | None, size: tuple[int, int], regions: Regions
    ) -> "FieldInfo":
        """Of an image that has been read.

        Args:
            source: None: it has no file.
            size: (height, width) in pixels.
            regions: of all images.

        Raises:
            RegionError: the image has no region where it should, or one that does not fit.
        """
        is_file = isinstance(source, ImageSource) and not is_url(source.path)
        region = regions.of(source if is_file else None, size)
        return cls(read_pixel_size(source) if is_file else None, region)


UNKNOWN = FieldInfo()
