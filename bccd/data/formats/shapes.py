"""Boxes around the shapes that annotation programs draw."""

import math
from collections.abc import Iterable

Corners = tuple[float, float, float, float]  # x0, y0, x1, y1


def around(points: Iterable[tuple[float, float]]) -> Corners:
    """The box around points (x, y)."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def turned_rectangle(
    corners: Corners, degrees: float, centre: tuple[float, float] | None = None
) -> Corners:
    """The box around a rectangle that is turned clockwise; ``centre``: its own if None."""
    if degrees % 360 == 0:
        return corners
    x0, y0, x1, y1 = corners
    cx, cy = centre or ((x0 + x1) / 2, (y0 + y1) / 2)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return around(
        (cx + (x - cx) * cos - (y - cy) * sin, cy + (x - cx) * sin + (y - cy) * cos)
        for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
    )


def ellipse(cx: float, cy: float, rx: float, ry: float, degrees: float = 0) -> Corners:
    """The box around an ellipse that is turned about its centre."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
    return cx - half_width, cy - half_height, cx + half_width, cy + half_height


def is_upright_rectangle(points: Iterable[tuple[float, float]]) -> bool:
    """Whether points are the corners of a box, in any order, closed or not."""
    points = list(points)
    corners = set(points)
    x0, y0, x1, y1 = around(points)
    box = {(x0, y0), (x1, y0), (x1, y1), (x0, y1)}
    return corners == box and len(points) - (points[0] == points[-1]) == 4
