"""PNG files of pictures, fast and small enough."""

from pathlib import Path

import cv2
import numpy as np

from bccd.data.images.own_pictures import mark

# Enlarged pictures repeat each row, which is nothing but zeros after the filter "up". It makes half
# the bytes of OpenCV's default in two thirds of its time; OpenCV has the choice from 4.12 on.
_PARAMETERS = [cv2.IMWRITE_PNG_COMPRESSION, 1]
if hasattr(cv2, "IMWRITE_PNG_FILTER"):
    _PARAMETERS += [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP]


def write_png(path: Path, picture_rgb: np.ndarray) -> None:
    """Write a uint8 RGB array (H, W, 3) as PNG with the project's mark.

    Folders are created where needed.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", cv2.cvtColor(picture_rgb, cv2.COLOR_RGB2BGR), _PARAMETERS)
    path.write_bytes(mark(data.tobytes()))
