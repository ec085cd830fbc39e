"""Detectron2's Visualizer with the look and the speed of ``draw_detections``."""

from collections.abc import Sequence
from typing import NoReturn

import cv2
import numpy as np
from detectron2.data.catalog import Metadata
from detectron2.structures import BitMasks, Boxes, Keypoints, PolygonMasks, RotatedBoxes
from detectron2.utils.colormap import random_color
from detectron2.utils.visualizer import ColorMode, VisImage, Visualizer
from matplotlib.colors import to_rgb
from PIL import Image

from bccd.data.classes import class_colors
from bccd.visualization import canvas
from bccd.visualization.drawing import Sizes, draw_cells
from bccd.visualization.text import text_mask

_Color = str | Sequence[float]  # any that matplotlib knows
_POINT = 100 / 72  # pixels, at the resolution of Detectron2's figures


class PixelImage(VisImage):
    """Detectron2's VisImage without a matplotlib figure: drawing changes the pixels at once."""

    def __init__(self, img: np.ndarray, scale: float = 1.0) -> None:
        """Args:
        img: uint8 array (H, W, 3), RGB.
        scale: each side of the picture, of that of the image.
        """
        canvas.check_image(img)
        self.img, self.scale = img, scale
        self.height, self.width = img.shape[:2]
        self.reset_image(img)

    def reset_image(self, img: np.ndarray) -> None:
        """Draw another image (H, W, 3), 0-255, over everything."""
        size = [max(1, int(side * self.scale + 1e-2)) for side in (self.height, self.width)]
        self.picture = np.empty((*size, 3), np.uint8)
        canvas.enlarge(img.astype(np.uint8), self.picture)

    def get_image(self) -> np.ndarray:
        """A copy of the picture: uint8 array (H, W, 3), RGB, each side times the scale."""
        return self.picture.copy()

    def save(self, filepath: str) -> None:
        """Write the picture as a file of any format that Pillow knows by its ending."""
        Image.fromarray(self.picture).save(filepath)

    @property
    def ax(self) -> NoReturn:
        """Where Detectron2 draws what this class has no pixels for."""
        raise NotImplementedError(
            "CellVisualizer draws boxes, texts, lines, circles and polygons. Masks with holes and "
            "soft masks are drawn by detectron2.utils.visualizer.Visualizer."
        )


class CellVisualizer(Visualizer):
    """Detectron2's Visualizer for crowded fields: thin boxes, labels that keep apart.

    It is used as Detectron2's and draws straight into pixels, which takes milliseconds. Classes
    have exactly the colours of the metadata or, where it names classes alone, those of
    ``class_colors``.

    Example::

        visualizer = CellVisualizer(image[:, :, ::-1], MetadataCatalog.get("bccd_paper_test"), 2)
        picture = visualizer.draw_instance_predictions(instances).get_image()
    """

    def __init__(
        self,
        img_rgb: np.ndarray,
        metadata: Metadata | None = None,
        scale: float = 1.0,
        instance_mode: ColorMode = ColorMode.SEGMENTATION,
    ) -> None:
        """As Detectron2's. Other modes than SEGMENTATION have random colours.

        Raises:
            ValueError: ``img_rgb`` is not a uint8 array (H, W, 3).
        """
        canvas.check_image(img_rgb)  # before super() makes uint8 of anything
        names = metadata.get("thing_classes") if metadata else None
        if names and not metadata.get("thing_colors"):
            metadata = Metadata(**metadata.as_dict(), thing_colors=list(class_colors(names)))
        super().__init__(img_rgb, metadata, scale, instance_mode)
        self.output = PixelImage(self.img, scale)
        self.sizes = Sizes.of(self.output.picture)

    def overlay_instances(
        self,
        *,
        boxes: Boxes | RotatedBoxes | np.ndarray | None = None,
        labels: Sequence[str] | None = None,
        masks: BitMasks | PolygonMasks | Sequence | None = None,
        keypoints: Keypoints | np.ndarray | None = None,
        assigned_colors: Sequence[_Color] | None = None,
        alpha: float = 0.5,
    ) -> PixelImage:
        """Draw boxes with labels that keep apart; all else as Detectron2 does."""
        boxes = None if boxes is None else self._convert_boxes(boxes)
        if boxes is None or boxes.shape[-1] != 4:  # none, or rotated ones
            return super().overlay_instances(
                boxes=boxes,
                labels=labels,
                masks=masks,
                keypoints=keypoints,
                assigned_colors=assigned_colors,
                alpha=alpha,
            )
        if assigned_colors is None:
            assigned_colors = [random_color(rgb=True, maximum=1) for _ in boxes]
        if masks is not None or keypoints is not None:
            super().overlay_instances(
                masks=masks, keypoints=keypoints, assigned_colors=assigned_colors, alpha=alpha
            )
        colors = [_rgb(color) for color in assigned_colors]
        draw_cells(self.output.picture, self.output.scale * boxes, colors, labels)
        return self.output

    def draw_box(
        self,
        box_coord: Sequence[float],
        alpha: float = canvas.LINE_ALPHA,
        edge_color: _Color = "g",
        line_style: str = "-",
    ) -> PixelImage:
        """Draw a box (x0, y0, x1, y1), its thin line dashed if ``line_style`` is not "-"."""
        box, sizes = self.output.scale * np.asarray(box_coord, float), self.sizes
        look = {"rim": sizes.rim, "dashed": line_style not in ("-", "solid"), "alpha": alpha}
        canvas.draw_box(self.output.picture, box, _rgb(edge_color), sizes.line, **look)
        return self.output

    def draw_text(
        self,
        text: str,
        position: Sequence[float],
        *,
        font_size: float | None = None,
        color: _Color = "g",
        horizontal_alignment: str = "center",
        rotation: float = 0,
    ) -> PixelImage:
        """Write a line of text on a ground of ``color``. It stays level whatever ``rotation``."""
        size = self.sizes.text
        if font_size is not None:
            size = max(1, font_size * self.output.scale * _POINT)
        mask = text_mask(text, size)
        x, y = self.output.scale * np.asarray(position, float)
        x -= {"left": 0, "center": 0.5, "right": 1}[horizontal_alignment] * mask.shape[1]
        pad = self.sizes.pad
        place = round(x) - pad, round(y) - pad
        canvas.draw_label(self.output.picture, *place, mask, _rgb(color), pad)
        return self.output

    def draw_circle(
        self, circle_coord: Sequence[float], color: _Color, radius: float = 3
    ) -> PixelImage:
        """Fill a circle around (x, y)."""
        (center,) = self._points([circle_coord])
        radius = max(1, round(radius * self.output.scale))
        cv2.circle(self.output.picture, center.tolist(), radius, _rgb(color), -1, cv2.LINE_AA)
        return self.output

    def draw_line(
        self,
        x_data: Sequence[float],
        y_data: Sequence[float],
        color: _Color,
        linestyle: str = "-",
        linewidth: float | None = None,
    ) -> PixelImage:
        """Draw lines through the points, always solid; ``linewidth`` is in points."""
        width = self.sizes.line
        if linewidth is not None:
            width = max(1, round(linewidth * self.output.scale * _POINT))
        points = self._points(np.stack((x_data, y_data), axis=1))
        cv2.polylines(self.output.picture, [points], False, _rgb(color), width, cv2.LINE_AA)
        return self.output

    def draw_polygon(
        self,
        segment: np.ndarray,
        color: _Color,
        edge_color: _Color | None = None,
        alpha: float = 0.5,
    ) -> PixelImage:
        """Fill the polygon of (N, 2) points and draw its edge."""
        points, picture = self._points(segment), self.output.picture
        inside = np.zeros(picture.shape[:2], np.uint8)
        cv2.fillPoly(inside, [points], 1)
        x, y, width, height = cv2.boundingRect(inside)
        area = x, y, x + width, y + height
        opacity = np.float32(alpha) * inside[y : y + height, x : x + width]
        canvas.blend(picture, area, _rgb(color), opacity)
        edge = _rgb(color if edge_color is None else edge_color)
        cv2.polylines(picture, [points], True, edge, self.sizes.line, cv2.LINE_AA)
        return self.output

    def _points(self, coordinates):
        """(N, 2) whole pixels of the picture."""
        return np.rint(self.output.scale * np.asarray(coordinates, float)).astype(np.int32)

    def _jitter(self, color):
        """The colour itself: Detectron2 varies it, and here it names the class."""
        return color


def _rgb(color):
    """0-255 of any colour that matplotlib knows."""
    return tuple(round(255 * value) for value in to_rgb(color))
