"""Synthetic smears as a Detectron2 dataset: records, and images behind ``smears://``."""

import functools
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from detectron2.structures import BoxMode
from detectron2.utils.file_io import PathHandler, PathManager
from iopath.common.file_io import get_cache_dir

from bccd.data.synthetic.layout import place_cells, visible_boxes
from bccd.data.synthetic.painting import paint

PREFIX = "smears://"
_URI = re.compile(re.escape(PREFIX) + r"(\d+)x(\d+)/seed(\d+)/(\d+)\.png")


def draw_smear(
    seed: int | Sequence[int], height: int = 480, width: int = 640
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw one field of view.

    Args:
        seed: not negative; determines the smear together with the size.
        height, width: size of the image in pixels, at least 16. The field of view stays the same:
            cells are drawn smaller in a smaller image.

    Returns:
        image (height, width, 3) uint8 BGR; boxes (M, 4) float32 XYXY in pixels, tight around what
        is seen of each cell; classes (M,) int64, indices of ``layout.CLASS_NAMES``.

    Raises:
        ValueError: the image is too small to show anything.
    """
    if min(height, width) < 16:
        raise ValueError(f"a smear of {height}x{width} pixels shows nothing; use at least 16x16")
    rng = np.random.default_rng(seed)
    cells = place_cells(rng, height, width)
    image = paint(rng, cells, height, width)
    return (image, *visible_boxes(cells, height, width))


def load_smears(count: int, seed: int, height: int = 480, width: int = 640) -> list[dict]:
    """Records of ``count`` smears; their images are drawn when they are first read.

    Args:
        count: number of images; image ``i`` does not depend on it.
        seed: not negative; smears of different seeds have nothing in common.
        height, width: size of the images in pixels.

    Returns:
        in Detectron2's format, image ids from 0, ``file_name`` a ``smears://`` URI.
    """
    records = []
    for index in range(count):
        cells = place_cells(np.random.default_rng((seed, index)), height, width)
        boxes, classes = visible_boxes(cells, height, width)
        annotations = [
            {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": category, "iscrowd": 0}
            for box, category in zip(boxes.tolist(), classes.tolist(), strict=True)
        ]
        records.append(
            {
                "file_name": f"{PREFIX}{height}x{width}/seed{seed}/{index:05d}.png",
                "image_id": index,
                "height": height,
                "width": width,
                "annotations": annotations,
            }
        )
    return records


class SmearHandler(PathHandler):
    """Draws the image that a ``smears://`` URI names and keeps it in iopath's cache."""

    def _get_supported_prefixes(self):
        return [PREFIX]

    def _get_local_path(self, path, force=False, **kwargs):
        self._check_kwargs(kwargs)
        match = _URI.fullmatch(path)
        if match is None:
            raise FileNotFoundError(f"{path} is not of the form {PREFIX}480x640/seed0/00000.png")
        local = Path(get_cache_dir(), "bccd_smears", _drawing_version(), path[len(PREFIX) :])
        if force or not local.is_file():
            height, width, seed, index = map(int, match.groups())
            image, _, _ = draw_smear((seed, index), height, width)
            _write_atomically(local, cv2.imencode(".png", image)[1].tobytes())
        return str(local)

    def _open(self, path, mode="r", buffering=-1, **kwargs):
        if mode not in ("r", "rb"):
            raise ValueError(f"{path} can only be read, not opened with mode {mode}")
        return open(self._get_local_path(path, **kwargs), mode, buffering)

    def _exists(self, path, **kwargs):
        return _URI.fullmatch(path) is not None

    def _isfile(self, path, **kwargs):
        return self._exists(path, **kwargs)


@functools.cache
def _drawing_version():
    """Hash of the drawing code, so that a cached image never outlives the code that drew it."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


def _write_atomically(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


PathManager.register_handler(SmearHandler(), allow_override=True)
