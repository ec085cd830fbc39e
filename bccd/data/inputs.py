"""What a user asks to be analysed: files, folders, globs and videos, as BGR arrays."""

import glob
import os
from pathlib import Path

import cv2
import numpy as np
from detectron2.data.detection_utils import convert_PIL_to_numpy, read_image
from PIL import Image, ImageOps

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")


def find_images(patterns):
    """List the images that files, folders and globs name, each once, in a stable order.

    Args:
        patterns: strings. A folder stands for the images directly inside it; ``**`` in a glob
            also enters subfolders.

    Returns:
        list of Path.

    Raises:
        FileNotFoundError: a pattern names nothing, or a folder without an image.
    """
    found = {}
    for pattern in patterns:
        for path in _expand(os.path.expanduser(pattern)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def _expand(pattern):
    path = Path(pattern)
    if path.is_file():
        return [path]
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not files:
            raise FileNotFoundError(
                f"No image ({' '.join(IMAGE_SUFFIXES)}) in the folder {pattern}. "
                f"Subfolders are not entered: use '{pattern}/**/*.jpg' for those."
            )
        return files
    files = sorted(Path(p) for p in glob.glob(pattern, recursive=True) if os.path.isfile(p))
    if not files:
        raise FileNotFoundError(f"No file, folder or glob match: {pattern}")
    return files


def picture_names(files):
    """Relative names of the output pictures, one per input file and no two alike.

    Folders are kept from the inputs' common one on, so that ``a/1.jpg`` and ``b/1.jpg`` stay
    apart; the input's suffix is kept where ``1.jpg`` and ``1.tif`` would meet.

    Args:
        files: sequence of distinct Path.

    Returns:
        list of Path ending in ``.png``.
    """
    absolute = [Path(os.path.abspath(file)) for file in files]
    root = os.path.commonpath([path.parent for path in absolute])
    relative = [path.relative_to(root) for path in absolute]
    names = [path.with_suffix(".png") for path in relative]
    if len(set(names)) == len(names):
        return names
    return [path.with_name(path.name + ".png") for path in relative]


def read_bgr(path):
    """Read an image of any kind as the detectors take it.

    8-bit colour and grey images come from Detectron2's ``read_image`` (EXIF orientation applied).
    Transparency is laid over white. Grey values of more than 8 bits are scaled so that the
    brightest is 255: cameras store 10 or 12 bits in 16. A stack of pages gives its first.

    Returns:
        uint8 array (H, W, 3), BGR.

    Raises:
        OSError: the file is missing or not a whole image.
    """
    with Image.open(path) as image:
        deep = image.mode == "F" or image.mode.startswith("I")
        if not deep and not image.has_transparency_data:
            return np.ascontiguousarray(read_image(str(path), "BGR"))
        image = ImageOps.exif_transpose(image)
        if deep:
            values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0).clip(min=0)
            grey = (values * (255 / max(values.max(), 1e-12))).round().astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return np.ascontiguousarray(
            convert_PIL_to_numpy(Image.alpha_composite(white, image), "BGR")
        )


class Video:
    """Frames of a video file, read one at a time.

    Attributes: ``frames_per_second`` (float) and ``frame_count`` (int or None), as the file
    states them. Iterating gives uint8 arrays (H, W, 3), BGR.

    A file that OpenCV cannot read has no frames.
    """

    def __init__(self, path):
        """Open ``path``; close it again with ``close`` or a ``with`` block."""
        self._capture = cv2.VideoCapture(str(path))
        self.frames_per_second = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frame_count = count if count > 0 else None

    def __iter__(self):
        """Yield the frames in order, once."""
        while True:
            read, frame = self._capture.read()
            if not read:
                return
            yield frame

    def __enter__(self):
        """Return the video itself."""
        return self

    def __exit__(self, *error):
        """Close the file."""
        self._capture.release()
