"""Size of an image from its file's header."""

from PIL import Image

_EXIF_ORIENTATION = 0x0112


def image_size(path):
    """(width, height) in pixels, turned as Detectron2 turns the image on reading.

    Raises:
        OSError: the file is missing or no image.
    """
    with Image.open(path) as image:
        return image.size[::-1] if _is_turned(image) else image.size


def is_turned(path):
    """Whether the file's EXIF orientation exchanges width and height on reading."""
    with Image.open(path) as image:
        return _is_turned(image)


def _is_turned(image):
    return image.getexif().get(_EXIF_ORIENTATION, 1) >= 5
