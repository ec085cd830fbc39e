"""Reading image files, with a memory of those last used."""

from collections import OrderedDict

import numpy as np
from PIL import Image

from bccd.data.images.decoding import read_bgr, read_rgb


class ImageReader:
    """Reads image files; the decoded images last used are kept, up to ``cache_bytes``."""

    def __init__(self, image_format: str, cache_bytes: int = 0) -> None:
        """``image_format``: INPUT.FORMAT, as Detectron2 knows it; ``cache_bytes``: 0 is off.

        The memory is that of one process: a data loader's workers have one each.
        """
        self.image_format = image_format
        self.cache_bytes = cache_bytes
        self._images = OrderedDict()
        self._bytes = 0

    def __call__(self, file_name: str) -> np.ndarray:
        """The image, as an array (H, W, C) that cannot be written to.

        Raises:
            FileNotFoundError: the image is not there.
            UnreadableImageError: the image cannot be decoded, or is not one field of view.
        """
        image = self._images.pop(file_name, None)
        if image is None:
            image = self._read(file_name)
            self._bytes += image.nbytes
        self._images[file_name] = image
        while self._bytes > self.cache_bytes:
            self._bytes -= self._images.popitem(last=False)[1].nbytes
        return image

    def _read(self, file_name):
        try:
            image = _read_as(self.image_format, file_name)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}; is DETECTRON2_DATASETS set to the right folder?"
            ) from error
        image.flags.writeable = False
        return image


def _read_as(image_format, file_name):
    if image_format == "BGR":
        return read_bgr(file_name)
    rgb = read_rgb(file_name)
    if image_format == "RGB":
        return rgb
    from detectron2.data.detection_utils import convert_PIL_to_numpy

    return np.ascontiguousarray(convert_PIL_to_numpy(Image.fromarray(rgb), image_format))
