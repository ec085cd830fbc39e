"""What a program has an image as, and the pixels in it: paths, arrays and PIL images."""

import os
from typing import Literal, TypeGuard

import cv2
import numpy as np
from PIL import Image

from bccd.data.images.decoding import is_url, list_pages, read_bgr
from bccd.data.images.depth import over_white, to_8_bits
from bccd.data.images.image_source import ImageSource, UnreadableImageError
from bccd.data.images.pillow_images import pillow_rgb

ImageLike = str | os.PathLike | ImageSource | np.ndarray | Image.Image
ChannelOrder = Literal["RGB", "BGR"]

_EXPECTED = "expected (H, W, 3) in colour or (H, W) in grey, uint8"


def to_source(path: str | os.PathLike) -> ImageSource | str:
    """The image that a path names, as ``smear.tif#2`` its second page; a URL stays as it is."""
    if isinstance(path, ImageSource):
        return path
    text = os.fspath(path)
    if is_url(text):
        return text
    return ImageSource.parse(os.path.expanduser(text))


def is_path(image: object) -> TypeGuard[str | os.PathLike]:
    """Whether an image is given by its path or URL."""
    return isinstance(image, str | os.PathLike | ImageSource)


def to_bgr(image: ImageLike, channel_order: ChannelOrder = "RGB") -> np.ndarray:
    """The pixels of an image in OpenCV's order of channels, as the project's reader gives them.

    Args:
        image: a path (``smear.tif#2`` is the second page) or URL; an array; or a PIL image, whose
            EXIF orientation is applied. Arrays of more than 8 bits, of fractions up to 1 and of
            grey values are treated as files of such values are.
        channel_order: of an array's colours.

    Returns:
        uint8 array (H, W, 3).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file cannot be read (``UnreadableImageError``), or an array is no image.
        TypeError: ``image`` is of another type.
    """
    if channel_order not in ("RGB", "BGR"):
        raise ValueError(f"channel_order is {channel_order!r}; expected 'RGB' or 'BGR'")
    if is_path(image):
        return _read(to_source(image))
    if isinstance(image, np.ndarray):
        return _array_to_bgr(image, channel_order)
    if isinstance(image, Image.Image):
        try:
            return cv2.cvtColor(pillow_rgb(image), cv2.COLOR_RGB2BGR)
        except (OSError, SyntaxError) as error:  # Pillow reads the file now
            raise UnreadableImageError(f"the PIL image cannot be read ({error})") from error
    raise TypeError(
        f"an image is a path, a NumPy array or a PIL image, not {type(image).__name__}; convert "
        "it, for example with numpy.asarray"
    )


def _read(source):
    if isinstance(source, ImageSource):
        if source.path.is_dir():
            raise UnreadableImageError(f"{source} is a folder; CellCounter.stream counts those")
        if source.page is None and len(list_pages(source.path)) > 1:
            raise UnreadableImageError(
                f"{source} holds several images; name one, as {source}#1, or count them all with "
                "CellCounter.stream"
            )
    return read_bgr(source)


def _array_to_bgr(array, channel_order):
    found = f"the array is {array.dtype} of shape {array.shape}"
    if array.dtype.kind not in "uif" or not array.size:
        raise ValueError(f"{found}; {_EXPECTED}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        raise ValueError(f"{found}, which is no image; {_EXPECTED}")
    if array.shape[2:] == (4,) and array.dtype != np.uint8:
        raise ValueError(f"{found}: colours with transparency must be uint8")
    try:
        values = to_8_bits(array)
    except UnreadableImageError as error:
        raise ValueError(f"{found}; it {error}") from None
    if values.ndim == 2:
        return np.repeat(values[:, :, None], 3, axis=2)
    if values.shape[2] == 4:
        values = over_white(values)
    if channel_order == "RGB":
        return cv2.cvtColor(np.ascontiguousarray(values), cv2.COLOR_RGB2BGR)
    return values.copy()  # what the caller does with the array changes no result
