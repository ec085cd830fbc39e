"""Images as Pillow opens them, and what it does not do for this project: 16 bits, HEIC, limits."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from bccd.data.images.depth import over_white, to_8_bits
from bccd.data.images.image_source import UnreadableImageError

# Pillow warns of larger files. A field of view is far smaller; a scanned slide is far larger.
MAX_PIXELS = 89_478_485
HEIF_MAGIC = b"ftyp"  # from the fifth byte on; MP4 has it, too
_ORIENTATION = 0x0112  # tag of EXIF and of TIFF


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """A file opened with Pillow, in a ``with`` block.

    Raises:
        UnreadableImageError: it is no single field of view; the message does not name the file.
    """
    with open(path, "rb") as file:
        if file.read(12)[4:8] == HEIF_MAGIC:
            register_heif()
    try:
        image = Image.open(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(too_large()) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImageError(too_large(image.width, image.height))
        # A JPEG of several pictures (MPO, of telephones) has the photograph first.
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in ("MPO", "TIFF"):
            raise UnreadableImageError(
                f"is an animation or a collection of {frames} pictures; save each as a file of "
                "its own"
            )
        yield image


@functools.cache
def register_heif() -> None:
    """Teach Pillow HEIC, the photographs of telephones."""
    import pi_heif

    pi_heif.register_heif_opener()


def too_large(*size: int) -> str:
    """Why an image of this width and height, where they are known, is not read."""
    shape = " ({}x{})".format(*size) if size else ""
    return (
        f"has more than {MAX_PIXELS / 1e6:.0f} megapixels{shape}, too many for one field of view; "
        "bccd count and CellCounter.count_slide count slides: pyramidal TIFF, SVS, NDPI"
    )


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1: upright."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def pillow_rgb(image: Image.Image) -> np.ndarray:
    """The frame at which a Pillow image stands, as :func:`.read_rgb` gives it."""
    image.load()  # turns a TIFF by its orientation, and then says so
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        grey = to_8_bits(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        return over_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def read_deep(path: Path, image: Image.Image) -> np.ndarray | None:
    """RGB of an image of 16 bits by OpenCV, not turned; None for another.

    Of colour Pillow keeps the upper 8 bits alone, which are dark where 12 of the 16 are used.

    Args:
        path: its file.
        image: the same, opened by Pillow.
    """
    if image.format == "PNG" and not any("16" in str(tile.args) for tile in image.tile):
        return None
    if image.format not in ("PNG", "JPEG2000", "PPM"):
        return None
    image.load()  # OpenCV does not refuse a file that is cut short
    values = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.dtype != np.uint16:
        return None
    if values.ndim == 2:
        return np.repeat(to_8_bits(values)[:, :, None], 3, axis=2)
    rgb = to_8_bits(np.ascontiguousarray(values[:, :, 2::-1]))
    if values.shape[2] == 3:
        return rgb
    return over_white(np.concatenate((rgb, to_8_bits(values[:, :, 3:], stated_bits=16)), axis=2))


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """An array (H, W, C) as EXIF's ``orientation`` says it is upright."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
