"""Copy-paste: rare cells of other images, pasted where they cover few other cells.

After Ghiasi et al., "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation" (CVPR 2021), with an ellipse in the box for the mask that BCCD does not have.
"""

import logging
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from bccd.data.record_boxes import xyxy_boxes
from bccd.data.transforms.cutting import with_box

logger = logging.getLogger(__name__)

# A patch has the centre of the cell's box and this many times its size. Between the ellipse of the
# box and the ellipse of the patch, the cell is blended into its new surroundings.
_PATCH = 1.2
_SCALE = (0.8, 1.25)
# Largest overlap of a pasted and another cell, as a share of the smaller of the two boxes.
_MAX_OVERLAP = 0.2
_PLACES = 30  # random places that are tried before a cell is given up
_GAIN = (0.7, 1.4)


class CopyPaste:
    """Pastes cells of some classes, each class as often as the others."""

    def __init__(
        self,
        records: list[dict],
        read: Callable[[str], np.ndarray],
        *,
        classes: Sequence[int],
        max_pastes: int,
    ) -> None:
        """Args:
        records (list[dict]): whose cells are pasted, in Detectron2's format. A class of which
            they have no whole cell is not pasted; a warning says so.
        read (callable): file name -> image (H, W, C) uint8.
        classes (list[int]): class ids to paste.
        max_pastes (int): 1 to this many cells are pasted into an image.

        Raises:
            ValueError: there are no ``classes``, or ``max_pastes`` is below 1.
        """
        if not classes or max_pastes < 1:
            raise ValueError(
                f"INPUT.COPY_PASTE has classes {classes} and at most {max_pastes} pastes; change "
                "CLASSES or MAX_PASTES, or set ENABLED False"
            )
        self.read = read
        self.max_pastes = max_pastes
        donors = {category: _donors(records, category) for category in classes}
        self.donors = [cells for cells in donors.values() if cells]
        if missing := [category for category, cells in donors.items() if not cells]:
            logger.warning(
                f"INPUT.COPY_PASTE: no training image has a whole cell of the classes {missing}; "
                "they are not pasted"
            )

    def __call__(
        self, image: np.ndarray, annotations: list[dict], rng: np.random.Generator
    ) -> tuple[np.ndarray, list[dict]]:
        """Paste into one image.

        Args:
            image (H, W, C) uint8, list[dict] of its annotations: left unchanged.
            rng (np.random.Generator)

        Returns:
            image (H, W, C) uint8 and list[dict]: with the pasted cells, last. A cell for which
            there is no room is left out.
        """
        image, annotations = image.copy(), list(annotations)
        if not self.donors:
            return image, annotations
        background = _background(image)
        for _ in range(rng.integers(1, self.max_pastes, endpoint=True)):
            donors = self.donors[rng.integers(len(self.donors))]
            file_name, annotation = donors[rng.integers(len(donors))]
            source = self.read(file_name)
            patch = _turned(_cut(source, annotation), rng)
            place = _free_place(image.shape, patch.shape, xyxy_boxes(annotations), rng)
            if place is not None:
                gain = (background / _background(source)).clip(*_GAIN)
                _blend(image, patch * gain, place)
                annotations.append(with_box(annotation, _inner_boxes(place)))
        return image, annotations


def _donors(records, category):
    """(file name, annotation) of each cell whose patch is inside its image."""
    donors = []
    for record in records:
        limits = (record["width"], record["height"])
        for annotation in record["annotations"]:
            if annotation["category_id"] != category or annotation.get("iscrowd", 0):
                continue
            x0, y0, x1, y1 = _patch(annotation)
            if x0 >= 0 and y0 >= 0 and x1 <= limits[0] and y1 <= limits[1] and x1 > x0 and y1 > y0:
                donors.append((record["file_name"], annotation))
    return donors


def _patch(annotation):
    """XYXY of the patch around a cell, whole pixels."""
    (box,) = xyxy_boxes([annotation])
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) * _PATCH / 2
    return np.rint(np.concatenate([centre - half, centre + half])).astype(int)


def _cut(image, annotation):
    x0, y0, x1, y1 = _patch(annotation)
    return image[y0:y1, x0:x1]


def _turned(patch, rng):
    """The patch flipped, turned by quarter turns and resized at random."""
    if rng.random() < 0.5:
        patch = patch[:, ::-1]
    patch = np.ascontiguousarray(np.rot90(patch, rng.integers(4)))
    scale = rng.uniform(*_SCALE)
    width, height = (max(round(side * scale), 1) for side in patch.shape[1::-1])
    return cv2.resize(patch, (width, height)).reshape(height, width, -1)


def _inner_boxes(patches):
    """Boxes (..., 4) of the cells in patches (..., 4), XYXY."""
    centre, half = (patches[..., :2] + patches[..., 2:]) / 2, patches[..., 2:] - patches[..., :2]
    half = half / (2 * _PATCH)
    return np.concatenate([centre - half, centre + half], axis=-1)


def _free_place(shape, patch_shape, boxes, rng):
    """XYXY (4,) int of a place for the patch, None if none of those tried will do."""
    size = np.array(patch_shape[1::-1])
    room = np.array(shape[1::-1]) - size
    if (room < 0).any():
        return None
    corners = rng.integers(room, size=(_PLACES, 2), endpoint=True)
    places = np.concatenate([corners, corners + size], axis=1)
    pasted = _inner_boxes(places)[:, None]
    common = np.minimum(pasted[..., 2:], boxes[:, 2:]) - np.maximum(pasted[..., :2], boxes[:, :2])
    smaller = np.minimum(_areas(pasted), _areas(boxes))
    free = (common.clip(0).prod(axis=-1) <= _MAX_OVERLAP * smaller).all(axis=1)
    return places[free.argmax()] if free.any() else None


def _areas(boxes):
    return (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)


def _background(image):
    """Colour (C,) of the empty smear: the brightest of an image, except for reflections."""
    return np.percentile(image[::8, ::8], 90, axis=(0, 1)).clip(1)


def _blend(image, patch, place):
    """Lay ``patch`` over ``image`` at ``place``, in place: opaque inside the cell's ellipse."""
    x0, y0, x1, y1 = place
    y, x = (2 * (np.arange(side) + 0.5) / side - 1 for side in patch.shape[:2])
    radius = np.hypot(x, y[:, None])  # 1 on the ellipse inscribed in the patch
    alpha = ((1 - radius) / (1 - 1 / _PATCH)).clip(0, 1)[..., None]
    below = image[y0:y1, x0:x1]
    blended = alpha * patch + (1 - alpha) * below
    image[y0:y1, x0:x1] = np.rint(blended).clip(0, 255)
