"""The one reader of images: training, evaluation, drawing and counting see the same pixels.

Neither PyTorch nor Detectron2 is imported for files; URLs need Detectron2's ``PathManager``.
"""

import contextlib
import functools
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bccd.data.images.depth import over_white, to_8_bits
from bccd.data.images.image_source import ImageSource, UnreadableImageError

# An image to read, a path, or a URL of Detectron2's PathManager (smears://...).
Source = ImageSource | str | os.PathLike

# Pillow warns of larger files. A field of view is far smaller; a scanned slide is far larger.
MAX_PIXELS = 89_478_485
_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_MAGIC = b"ftyp"  # from the fifth byte on; MP4 has it, too
_ORIENTATION = 0x0112  # tag of EXIF and of TIFF
# other tags of TIFF
_IMAGE_WIDTH, _IMAGE_LENGTH = 256, 257
_SUBFILE_TYPE, _BITS_PER_SAMPLE, _SAMPLE_FORMAT, _DNG_VERSION = 254, 258, 339, 50706


def read_rgb(source: Source) -> np.ndarray:
    """Read an image of any kind.

    EXIF orientation is applied, transparency is laid over white, more than 8 bits are scaled by
    :func:`bccd.data.images.depth.to_8_bits`.

    Args:
        source: an ImageSource, a path, or a URL of Detectron2's ``PathManager``.

    Returns:
        uint8 array (H, W, 3), RGB.

    Raises:
        FileNotFoundError: the file is missing.
        UnreadableImageError: it is no image, is damaged, is not one field of view, or needs a
            package that is not installed: the message names the file, and what to do.
    """
    with _naming(source) as (path, page):
        fields = _tiff_fields(path)
        if fields is not None:
            return _read_tiff(path, _choose(fields, page))
        with _open(path) as image:
            deep = _read_deep(path, image)
            return pillow_rgb(image) if deep is None else _turn(deep, _orientation(image))


def read_bgr(source: Source) -> np.ndarray:
    """As :func:`read_rgb`, with the channels in OpenCV's order."""
    # NumPy takes ten times as long to exchange the channels.
    return cv2.cvtColor(read_rgb(source), cv2.COLOR_RGB2BGR)


def image_size(source: Source) -> tuple[int, int]:
    """(width, height) of what :func:`read_rgb` gives, from the file's header; raises as that."""
    with _naming(source) as (path, page):
        return _header(path, page)[0]


def explain_turn(source: Source, width: int, height: int) -> str:
    """Why an image is not ``width`` x ``height``, where EXIF turns it; empty where it does not."""
    with _naming(source) as (path, page):
        size, orientation = _header(path, page)
    if orientation < 5 or size != (height, width):
        return ""
    return (
        ": its EXIF orientation turns it on reading, and the annotation is of the picture as the "
        "sensor took it. Remove the orientation (exiftool -Orientation= FILE), or turn size and "
        "boxes"
    )


def list_pages(path: Path) -> list[ImageSource]:
    """The images of a file, one ImageSource each.

    A file that cannot be read is one, too: its error comes when it is read.
    """
    try:
        fields = _tiff_fields(path)
    except Exception:  # as _naming
        fields = None
    if fields is None or len(fields) == 1:
        return [ImageSource(path)]
    return [ImageSource(path, number) for number in range(1, len(fields) + 1)]


def looks_like_image(path: Path) -> bool:
    """Whether a file is by its content an image, readable or not, or a film."""
    try:
        with open(path, "rb") as file:
            start = file.read(12)
        if start[:4] in _TIFF_MAGIC or start[4:8] == _HEIF_MAGIC:
            return True
        with Image.open(path):
            return True
    except Image.DecompressionBombError:
        return True
    except Exception:  # it is none, or too damaged to tell
        return False


def is_url(name: str | os.PathLike) -> bool:
    """Whether ``PathManager`` is needed to find a file."""
    return "://" in os.fspath(name)


def local_path(url: str | os.PathLike) -> str:
    """Path of the local copy of what a URL of ``PathManager`` names."""
    from detectron2.utils.file_io import PathManager

    import bccd.data.synthetic  # noqa: F401  (registers smears://, in spawned workers, too)

    return PathManager.get_local_path(url)


@contextlib.contextmanager
def _naming(source):
    """Give (path, page) of a source; an error inside becomes one that names it."""
    path, page = source if isinstance(source, ImageSource) else (source, None)
    try:
        yield Path(local_path(path) if is_url(path) else path), page
    except FileNotFoundError as error:
        raise FileNotFoundError(f"image {source} does not exist") from error
    except UnreadableImageError as error:
        raise UnreadableImageError(f"image {source} {error}") from None
    except ModuleNotFoundError as error:  # tifffile, imagecodecs, pi_heif
        raise UnreadableImageError(
            f"image {source} needs {error.name}, which is not installed: pip install {error.name}"
        ) from None
    except Exception as error:  # decoders raise whatever a damaged file makes of them
        raise UnreadableImageError(
            f"image {source} cannot be read ({error}); replace it"
        ) from error


def _header(path, page):
    """Size (width, height) after turning, and orientation."""
    fields = _tiff_fields(path)
    if fields is not None:
        field = _choose(fields, page)
        size, orientation = (field.width, field.height), field.orientation
    else:
        with _open(path) as image:
            size, orientation = image.size, _orientation(image)
            if image.format == "TIFF":  # Pillow's versions differ in whether they turn its size
                size = image.tag_v2[_IMAGE_WIDTH], image.tag_v2[_IMAGE_LENGTH]
    return (size[::-1] if orientation >= 5 else size), orientation


@contextlib.contextmanager
def _open(path):
    """A file opened with Pillow; refuses what is no single field of view."""
    with open(path, "rb") as file:
        if file.read(12)[4:8] == _HEIF_MAGIC:
            _register_heif()
    try:
        image = Image.open(path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnreadableImageError(_too_large()) from error
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImageError(_too_large(image.width, image.height))
        # A JPEG of several pictures (MPO, of telephones) has the photograph first.
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format not in ("MPO", "TIFF"):
            raise UnreadableImageError(
                f"is an animation or a collection of {frames} pictures; save each as a file of "
                "its own"
            )
        yield image


def _too_large(*size):
    shape = " ({}x{})".format(*size) if size else ""
    return (
        f"has more than {MAX_PIXELS / 1e6:.0f} megapixels{shape}, too many for one field of view; "
        "bccd count and CellCounter.count_slide count slides: pyramidal TIFF, SVS, NDPI"
    )


@functools.cache
def _register_heif():
    """Teach Pillow HEIC, the photographs of telephones."""
    import pi_heif

    pi_heif.register_heif_opener()


def _orientation(image):
    orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _choose(fields, page):
    """The field of a page's number."""
    if page is None and len(fields) == 1:
        return fields[0]
    if page is None:
        raise UnreadableImageError(
            f"holds {len(fields)} images; a data set needs each in a file of its own"
        )
    if not 1 <= page <= len(fields):
        raise UnreadableImageError(f"has no page {page}, but {len(fields)}")
    return fields[page - 1]


def pillow_rgb(image: Image.Image) -> np.ndarray:
    """The frame at which a Pillow image stands, as :func:`read_rgb` gives it."""
    image.load()  # turns a TIFF by its orientation, and then says so
    image = ImageOps.exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        grey = to_8_bits(np.asarray(image))
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        return over_white(np.asarray(image.convert("RGBA")))
    return np.asarray(image.convert("RGB"))


def _read_deep(path, image):
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


def _tiff_fields(path):
    """The fields of view of a TIFF file that Pillow alone does not understand, or else None."""
    with open(path, "rb") as file:
        if file.read(4) not in _TIFF_MAGIC:
            return None
    if _is_plain_tiff(path):
        return None
    from bccd.data.images.tiff import (
        tiff_fields,  # tifffile takes longer to import than most files do
    )

    fields = tiff_fields(path)
    for field in fields:
        if field.width * field.height > MAX_PIXELS:
            raise UnreadableImageError(_too_large(field.width, field.height))
    return fields


def _is_plain_tiff(path):
    """Whether a TIFF file is one page of at most 8 bits."""
    try:
        with _open(path) as image:
            tags = image.tag_v2
            shallow = max(tags.get(_BITS_PER_SAMPLE, (1,))) <= 8
            unsigned = max(tags.get(_SAMPLE_FORMAT, (1,))) == 1
            reduced = tags.get(_SUBFILE_TYPE, 0) & 1 or _DNG_VERSION in tags
            return image.n_frames == 1 and shallow and unsigned and not reduced
    except UnidentifiedImageError:  # for example 16-bit colour in planes
        return False


def _read_tiff(path, field):
    """The pixels of a field of view of a TIFF file, RGB, upright."""
    if field.bits <= 8:
        with contextlib.suppress(UnidentifiedImageError), Image.open(path) as image:
            return _pillow_pages(image, field.pages)
    from bccd.data.images.tiff import read_tiff_field

    return _turn(read_tiff_field(path, field), field.orientation)


def _pillow_pages(image, pages):
    parts = []
    for page in pages:
        image.seek(page)
        parts.append(pillow_rgb(image))
    return parts[0] if len(parts) == 1 else np.stack([part[:, :, 0] for part in parts], axis=2)


def _turn(image, orientation):
    """An array (H, W, C) as EXIF's ``orientation`` says it is upright."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
