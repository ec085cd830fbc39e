"""The one reader of images: training, evaluation, drawing and counting see the same pixels.

Neither PyTorch nor Detectron2 is imported for files; URLs need Detectron2's ``PathManager``.
"""

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from bccd.data.images.image_source import ImageSource, UnreadableImageError
from bccd.data.images.pillow_images import (
    HEIF_MAGIC,
    MAX_PIXELS,
    open_image,
    orientation_of,
    pillow_rgb,
    read_deep,
    too_large,
    turn,
)

# An image to read, a path, or a URL of Detectron2's PathManager (smears://...).
Source = ImageSource | str | os.PathLike

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
# tags of TIFF
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
        with open_image(path) as image:
            deep = read_deep(path, image)
            return pillow_rgb(image) if deep is None else turn(deep, orientation_of(image))


def read_bgr(source: Source) -> np.ndarray:
    """As :func:`read_rgb`, with the channels in OpenCV's order."""
    # NumPy takes ten times as long to exchange the channels.
    return cv2.cvtColor(read_rgb(source), cv2.COLOR_RGB2BGR)


def image_size(source: Source) -> tuple[int, int]:
    """(width, height) of what :func:`read_rgb` gives, from the file's header; raises as that."""
    with _naming(source) as (path, page):
        return _header(path, page)[0]


def image_orientation(source: Source) -> int:
    """EXIF orientation of an image, 1 to 8; 1: it is stored upright. Raises as :func:`read_rgb`."""
    with _naming(source) as (path, page):
        return _header(path, page)[1]


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
        if start[:4] in _TIFF_MAGIC or start[4:8] == HEIF_MAGIC:
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
        with open_image(path) as image:
            size, orientation = image.size, orientation_of(image)
            if image.format == "TIFF":  # Pillow's versions differ in whether they turn its size
                size = image.tag_v2[_IMAGE_WIDTH], image.tag_v2[_IMAGE_LENGTH]
    return (size[::-1] if orientation >= 5 else size), orientation


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
            raise UnreadableImageError(too_large(field.width, field.height))
    return fields


def _is_plain_tiff(path):
    """Whether a TIFF file is one page of at most 8 bits."""
    try:
        with open_image(path) as image:
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

    return turn(read_tiff_field(path, field), field.orientation)


def _pillow_pages(image, pages):
    parts = []
    for page in pages:
        image.seek(page)
        parts.append(pillow_rgb(image))
    return parts[0] if len(parts) == 1 else np.stack([part[:, :, 0] for part in parts], axis=2)
