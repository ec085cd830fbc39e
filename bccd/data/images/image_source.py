"""What names one image: a file, or one page of a file that holds several."""

import os
import re
from pathlib import Path
from typing import NamedTuple

# Files of these names are images; what decides how one is decoded is its content.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"),
    *(".jp2", ".pgm", ".ppm", ".heic", ".heif", ".avif"),
)


class ImageSource(NamedTuple):
    """An image to read; ``os.stat`` and ``open`` take it as its file.

    Attributes:
        path: the file.
        page: number of the image in a file that holds several, from 1; None where it is the only
            one. ``str`` gives ``smear.tif#2``.
    """

    path: Path
    page: int | None = None

    @classmethod
    def parse(cls, name: str | os.PathLike) -> "ImageSource":
        """The image of a name as ``str`` gives it; a file called ``a#2`` is meant itself."""
        text = os.fspath(name)
        paged = re.fullmatch(r"(.+)#(\d+)", text)
        if paged and not os.path.exists(text):
            return cls(Path(paged[1]), int(paged[2]))
        return cls(Path(text))

    def __str__(self) -> str:
        """The path, with the page where there are several: the name of the image everywhere."""
        return f"{self.path}{self.page_suffix}"

    def __fspath__(self) -> str:
        """The file's path, without the page."""
        return os.fspath(self.path)

    @property
    def name(self) -> str:
        """The name without its folders."""
        return f"{self.path.name}{self.page_suffix}"

    @property
    def page_suffix(self) -> str:
        """``#2`` for the second page; empty where the file is the image."""
        return "" if self.page is None else f"#{self.page}"


class UnreadableImageError(ValueError):
    """An image cannot be read as one field of view; the message says why and what to do."""
