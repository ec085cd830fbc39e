"""Finding images of the same field of view, also if the stage moved between them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from bccd.data.formats.annotated_image import AnnotatedImage
from bccd.data.images.decoding import read_rgb

# Correlation from which two pictures count as the same field. In BCCD ten pairs have 0.959 or more
# and are the same field to the eye; the next closest pair has 0.79. Different pictures that all
# have one cell in the middle (TXL-PBC) reach 0.92.
MIN_CORRELATION = 0.94
# All pairs are compared at half the size. Pairs below this correlation are not compared in full
# size.
_MIN_COARSE_CORRELATION = 0.85

_JPEG_MAGIC = b"\xff\xd8"
_WIDTH, _HEIGHT = 80, 60
_MARGIN = 5  # the middle leaves out 1/5 of the picture at each side: how far the stage may move


def thumbnail(path: str | Path) -> np.ndarray:
    """Small grey version of a picture.

    Args:
        path: image file; all of it is decoded.

    Returns:
        uint8 array of shape (60, 80)

    Raises:
        OSError, UnreadableImageError: the file is no image, or is cut off.
    """
    with open(path, "rb") as file:
        if file.read(2) == _JPEG_MAGIC:
            with Image.open(path) as image:
                image.draft("L", (2 * _WIDTH, 2 * _HEIGHT))  # decoded small, which is faster
                return _shrink(image)
    return _shrink(Image.fromarray(read_rgb(path)))


def _shrink(image):
    return np.asarray(image.convert("L").resize((_WIDTH, _HEIGHT), Image.Resampling.BOX))


def near_duplicates(thumbnails: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Pairs of pictures of the same field.

    The middle of one picture is searched in the other by normalised correlation. A shift of up to a
    fifth of the picture, another brightness or another compression do not hide the pair.

    Args:
        thumbnails: list of N :func:`thumbnail` arrays.

    Returns:
        list of (i, j), i < j
    """
    if len(thumbnails) < 2:
        return []
    coarse = [cv2.resize(t, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for t in thumbnails]
    middles = _normalize(np.stack([_middle(t) for t in coarse]))
    pairs = []
    for j, picture in enumerate(coarse[1:], start=1):
        windows = sliding_window_view(picture, _middle(picture).shape)
        windows = _normalize(windows.reshape(-1, *windows.shape[2:]))
        best = (middles[:j] @ windows.T).max(axis=1)
        for i in np.flatnonzero(best > _MIN_COARSE_CORRELATION):
            fine = cv2.matchTemplate(thumbnails[j], _middle(thumbnails[i]), cv2.TM_CCOEFF_NORMED)
            if fine.max() > MIN_CORRELATION:
                pairs.append((int(i), j))
    return sorted(pairs)


def group_fields(
    images: Mapping[str, AnnotatedImage], *, by_folder: bool = False
) -> list[list[str]]:
    """Names of images in groups that must stay on one side of a split.

    Args:
        images: name to image.
        by_folder: images of one folder are one group, too: of one slide, or one patient.

    Returns:
        groups in the order of their first names; images that show the same field are in one.
    """
    names = list(images)
    pairs = near_duplicates([thumbnail(image.path) for image in images.values()])
    if by_folder:
        first = {}
        for i, name in enumerate(names):
            folder = name.rpartition("/")[0]
            pairs.append((first.setdefault(folder, i), i))
    leader = list(range(len(names)))

    def find(i):
        while leader[i] != i:
            i = leader[i]
        return i

    for i, j in pairs:
        low, high = sorted((find(i), find(j)))
        leader[high] = low
    groups = {}
    for i, name in enumerate(names):
        groups.setdefault(find(i), []).append(name)
    return list(groups.values())


def _middle(picture):
    height, width = picture.shape
    top, left = height // _MARGIN, width // _MARGIN
    return picture[top : height - top, left : width - left]


def _normalize(patches):
    """Patches (N, H, W) as float rows (N, H * W) of mean 0 and length 1."""
    rows = patches.reshape(len(patches), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
