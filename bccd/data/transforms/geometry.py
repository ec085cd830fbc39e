"""Quarter turns, and faster versions of Detectron2's flips and resize.

Detectron2's flips and resize take as long as everything else that is done to a training image: a
flip returns negative strides, which the next step copies element by element, and the resize
converts the image to Pillow's layout and back.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from detectron2.data import transforms as T
from fvcore.transforms.transform import HFlipTransform, Transform, VFlipTransform
from PIL import Image

# By the number of quarter turns, counter-clockwise.
_TURNS = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)


class Rotate90Transform(Transform):
    """Rotates by quarter turns counter-clockwise, without interpolation.

    Detectron2's RotationTransform computes pixels by an affine warp, also at 90 degrees.
    """

    def __init__(self, h: int, w: int, turns: int) -> None:
        """``h, w``: size of the input image in pixels; ``turns``: quarter turns, 0 to 3."""
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """``img`` (H, W) or (H, W, C) -> the same rotated; (W, H, ...) for an odd ``turns``."""
        if not self.turns:
            return img
        rotated = cv2.rotate(img, _TURNS[self.turns])
        return rotated.reshape(rotated.shape[:2] + img.shape[2:])

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """``coords`` (N, 2) of (x, y) in continuous coordinates, 0 to W and 0 to H."""
        x, y = coords[:, 0], coords[:, 1]
        rotated = ((x, y), (y, self.w - x), (self.w - x, self.h - y), (self.h - y, x))
        return np.stack(rotated[self.turns], axis=1)

    def inverse(self) -> "Rotate90Transform":
        """The rotation back."""
        h, w = (self.w, self.h) if self.turns % 2 else (self.h, self.w)
        return Rotate90Transform(h, w, -self.turns % 4)


class RandomRotate90(T.Augmentation):
    """Rotates by a number of quarter turns drawn from ``turns``."""

    def __init__(self, turns: Sequence[int] = (0, 1, 2, 3)) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, C) -> :class:`Rotate90Transform`."""
        return Rotate90Transform(*image.shape[:2], int(np.random.choice(self.turns)))


class RandomFlip(T.RandomFlip):
    """Detectron2's RandomFlip with a result that is contiguous in memory."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, C) -> a flip, or nothing to do."""
        transform = super().get_transform(image)
        if isinstance(transform, HFlipTransform):
            return _HFlip(transform.width)
        if isinstance(transform, VFlipTransform):
            return _VFlip(transform.height)
        return transform


class Resize(T.Resize):
    """Detectron2's, with :class:`ResizeTransform`."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, C) -> :class:`ResizeTransform`."""
        return _resize(super().get_transform(image))


class ResizeShortestEdge(T.ResizeShortestEdge):
    """Detectron2's, with :class:`ResizeTransform`."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, C) -> :class:`ResizeTransform`, or nothing to do for a size of 0."""
        return _resize(super().get_transform(image))


class ResizeTransform(T.ResizeTransform):
    """Detectron2's ResizeTransform, computed by PyTorch for uint8 images and the bilinear filter.

    PyTorch has Pillow's filter and rounding: one value in 1,000 of a colour image differs by 1.
    """

    def apply_image(self, img: np.ndarray, interp: int | None = None) -> np.ndarray:
        """``img`` (H, W) or (H, W, C) -> the image in the new size."""
        interp = self.interp if interp is None else interp
        if img.dtype != np.uint8 or img.ndim != 3 or interp != Image.BILINEAR:
            return super().apply_image(img, interp)
        # The order of the axes makes it a channels-last tensor to PyTorch: that has the fast path.
        image = torch.from_numpy(np.require(img, requirements="CW"))[None].permute(0, 3, 1, 2)
        size = (self.new_h, self.new_w)
        resized = F.interpolate(image, size, mode="bilinear", antialias=True)
        return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


class _HFlip(HFlipTransform):
    def apply_image(self, img):
        return cv2.flip(img, 1).reshape(img.shape)


class _VFlip(VFlipTransform):
    def apply_image(self, img):
        return cv2.flip(img, 0).reshape(img.shape)


def _resize(transform):
    if not isinstance(transform, T.ResizeTransform):
        return transform
    return ResizeTransform(
        transform.h, transform.w, transform.new_h, transform.new_w, transform.interp
    )
