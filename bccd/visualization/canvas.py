"""Drawing on RGB pictures, in place: transparent areas, boxes and labels.

A box is drawn as four rectangles of pixels, because OpenCV's lines can be neither transparent nor
dashed.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import floor

import cv2
import numpy as np

Color = Sequence[float]  # red, green, blue, 0 to 255
Rectangle = tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 are not inside

LINE_ALPHA, GAP_ALPHA, GROUND_ALPHA = 0.95, 0.5, 0.85
_DASH, _GAP = 2.5, 2.0  # lengths, of the line's width


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless ``image`` is a uint8 array (H, W, 3) that is not empty."""
    shape = np.shape(image)
    dtype = getattr(image, "dtype", type(image).__name__)
    if len(shape) != 3 or shape[2] != 3 or 0 in shape or dtype != np.uint8:
        raise ValueError(
            "An image to draw on must be a uint8 array (height, width, 3) in RGB; "
            f"this one is {dtype} {shape}"
        )


def enlarge(image: np.ndarray, out: np.ndarray) -> None:
    """Fill ``out`` with an image (H, W, 3) of another size, each pixel a block of one colour."""
    size, mode = out.shape[1::-1], cv2.INTER_NEAREST_EXACT
    cv2.resize(np.ascontiguousarray(image), size, dst=out, interpolation=mode)


def ink(color: Color) -> Color:
    """Black or white, whichever is easier to read on ``color``."""
    return (0, 0, 0) if np.dot(color, (0.299, 0.587, 0.114)) > 127.5 else (255, 255, 255)


def blend(
    picture: np.ndarray, area: Rectangle, color: Color, alpha: float | np.ndarray = 1.0
) -> None:
    """Lay a colour over an area; what is outside the picture is left out.

    Args:
        picture: uint8 array (H, W, 3), changed.
        area: (x0, y0, x1, y1).
        color: RGB.
        alpha: opacity in [0, 1], one for all or an array that broadcasts to (y1 - y0, x1 - x0).
    """
    (height, width), (x0, y0, x1, y1) = picture.shape[:2], area
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
    if left >= right or top >= bottom:
        return
    pixels = picture[top:bottom, left:right]
    if not isinstance(alpha, np.ndarray):
        pixels[:] = cv2.LUT(pixels, _mixtures(tuple(color), alpha))
        return
    alpha = np.broadcast_to(alpha, (y1 - y0, x1 - x0))
    alpha = alpha[top - y0 : bottom - y0, left - x0 : right - x0, None]
    mixed = pixels.astype(np.float32)
    mixed += alpha * (np.array(color, np.float32) - mixed)
    pixels[:] = mixed + 0.5  # the conversion to integers cuts off


@lru_cache(maxsize=64)
def _mixtures(color, alpha):
    """What each value of a pixel becomes under a colour: uint8 array (1, 256, 3)."""
    values = np.arange(256)[:, None]
    return np.rint(values + alpha * (np.array(color) - values)).astype(np.uint8)[None]


def draw_box(
    picture: np.ndarray,
    box: Sequence[float],
    color: Color,
    width: int,
    *,
    rim: int = 1,
    dashed: bool = False,
    alpha: float = LINE_ALPHA,
) -> None:
    """Draw the outline of a box on a black or white rim.

    Args:
        picture: uint8 array (H, W, 3), changed.
        box: corners (x0, y0, x1, y1), which the middle of the line runs through. A line that would
            be outside the picture is moved to its edge.
        color: RGB of the line.
        width: of the line, in pixels.
        rim: width on each side of the line.
        dashed: the line has gaps; the rim has none, and half the opacity.
        alpha: opacity.
    """
    rim = max(0, min(rim, (min(picture.shape[:2]) - width) // 2))  # the line goes first
    x0, y0, x1, y1 = around = _outer_edges(picture, box, width + 2 * rim)
    for side in _sides(around, width + 2 * rim):
        blend(picture, side, ink(color), GAP_ALPHA if dashed else alpha)
    outline = (x0 + rim, y0 + rim, x1 - rim, y1 - rim)
    for number, side in enumerate(_sides(outline, width)):
        opacity = alpha * _dashes(outline, side, number, width) if dashed else alpha
        blend(picture, side, color, opacity)


def _outer_edges(picture, box, width):
    """The outer edges (x0, y0, x1, y1) of a line of ``width`` along ``box``, inside the picture."""
    starts, stops = [], []
    for low, high, end in zip(box[:2], box[2:], picture.shape[1::-1], strict=True):
        start = floor(low + 0.5) - width // 2
        stop = floor(high + 0.5) - width // 2 + width
        starts.append(max(0, min(start, end - width)))
        stops.append(min(end, max(stop, width)))
    return (*starts, *stops)


def _sides(outer: Rectangle, width: int) -> Iterator[Rectangle]:
    """Top, right, bottom and left of an outline, without a pixel in two of them."""
    x0, y0, x1, y1 = outer
    top, left = min(y0 + width, y1), min(x0 + width, x1)
    bottom, right = max(y1 - width, top), max(x1 - width, left)
    yield x0, y0, x1, top
    yield right, top, x1, bottom
    yield x0, bottom, x1, y1
    yield x0, top, left, bottom


def _dashes(outer: Rectangle, side: Rectangle, number: int, width: int) -> np.ndarray:
    """1 on dashes and 0 in gaps, counted along the outline from its upper left corner clockwise."""
    left, top, right, bottom = outer
    x, y = np.arange(side[0], side[2]), np.arange(side[1], side[3])[:, None]
    across, down = right - left, bottom - top
    along = (x - left, across + y - top, across + down + right - x, 2 * across + down + bottom - y)
    return (along[number] % ((_DASH + _GAP) * width) < _DASH * width).astype(np.float32)


def draw_text(picture: np.ndarray, x: float, y: float, mask: np.ndarray, color: Color) -> None:
    """Draw a text's mask (h, w) of :func:`.text_mask` with its upper left corner at (x, y)."""
    x, y = round(x), round(y)
    height, width = mask.shape
    blend(picture, (x, y, x + width, y + height), color, mask / np.float32(255))


def draw_label(
    picture: np.ndarray, x: int, y: int, mask: np.ndarray, color: Color, pad: int
) -> None:
    """Draw a text in black or white on a coloured ground, ``pad`` pixels larger on each side.

    Args:
        picture: uint8 array (H, W, 3), changed.
        x, y: upper left corner of the ground.
        mask: of the text, (h, w), of :func:`.text_mask`.
        color: RGB of the ground.
        pad: pixels.
    """
    height, width = mask.shape
    blend(picture, (x, y, x + width + 2 * pad, y + height + 2 * pad), color, GROUND_ALPHA)
    draw_text(picture, x + pad, y + pad, mask, ink(color))
