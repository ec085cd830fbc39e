"""Mosaics: windows of four images around one point."""

from collections.abc import Sequence

import cv2
import numpy as np

from bccd.data.record_boxes import xyxy_boxes
from bccd.data.transforms.cutting import cut_annotations

# The four images meet between these shares of the canvas's width and height.
_CENTRE = (0.3, 0.7)


class Mosaic:
    """Cuts a window from each of four images and puts them around a random point of one canvas."""

    def __init__(self, *, scale: Sequence[float] = (0.7, 1.3), min_box_area: float = 0.4) -> None:
        """Args:
        scale (tuple of two floats): range of each image's magnification; an image too small to
            fill its quarter of the canvas is magnified as far as that takes.
        min_box_area (float): a box is dropped when less than this share of its area is left.
        """
        self.scale = scale
        self.min_box_area = min_box_area

    def __call__(
        self, parts: Sequence[tuple[np.ndarray, list[dict]]], rng: np.random.Generator
    ) -> tuple[np.ndarray, list[dict]]:
        """Compose four images.

        Args:
            parts (list): four of (image (H, W, C) uint8, list of annotations). The canvas has the
                size of the first, which is at its top left.
            rng (np.random.Generator)

        Returns:
            image (H, W, C) uint8 and list[dict], annotations with XYXY boxes inside the canvas.
        """
        height, width = parts[0][0].shape[:2]
        x = round(width * rng.uniform(*_CENTRE))
        y = round(height * rng.uniform(*_CENTRE))
        quarters = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
        canvas = np.empty_like(parts[0][0])
        annotations = []
        for (image, part), quarter in zip(parts, quarters, strict=True):
            window = self._window(image.shape[:2], quarter, rng)
            _fill(canvas, quarter, image, window)
            annotations += self._moved(part, window, quarter)
        return canvas, annotations

    def _window(self, shape, quarter, rng):
        """XYXY, in pixels of an image of ``shape`` (H, W), of what fills the quarter."""
        x0, y0, x1, y1 = quarter
        size = np.array([x1 - x0, y1 - y0])
        limits = np.array(shape[::-1])
        least = (size / limits).max()
        low, high = (max(scale, least) for scale in self.scale)
        size = np.minimum(np.rint(size / rng.uniform(low, high)).astype(int).clip(1), limits)
        corner = rng.integers(limits - size, endpoint=True)
        return (*corner, *(corner + size))

    def _moved(self, annotations, window, quarter):
        """The annotations whose boxes are still seen, in pixels of the canvas."""
        window, quarter = np.array(window, dtype=float), np.array(quarter, dtype=float)
        factor = (quarter[2:] - quarter[:2]) / (window[2:] - window[:2])
        offset = quarter[:2] - window[:2] * factor
        boxes = xyxy_boxes(annotations) * np.tile(factor, 2) + np.tile(offset, 2)
        return cut_annotations(annotations, boxes, quarter, self.min_box_area)


def _fill(canvas, quarter, image, window):
    x0, y0, x1, y1 = quarter
    left, top, right, bottom = window
    part = cv2.resize(image[top:bottom, left:right], (x1 - x0, y1 - y0))
    canvas[y0:y1, x0:x1] = part.reshape(y1 - y0, x1 - x0, -1)
