"""A part of an image: polygons, or a mask.

A cell lies in a region where the centre of its box does; so each cell lies in one of two regions
that share an edge, and their counts add up.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import cv2
import numpy as np
import shapely

Rectangle = Sequence[float]  # left, top, right, bottom in pixels of the image
_BEYOND = 1.0  # pixels by which a region may reach beyond the image: rounding


class RegionError(ValueError):
    """A region cannot be used; the message says why and what to do."""


class Region(Protocol):
    """A part of an image, in its pixels."""

    @property
    def identity(self) -> str:
        """A text that differs where the region does."""

    def check(self, size: tuple[int, int]) -> None:
        """Raise RegionError where the region is not of an image of ``size`` (height, width)."""

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Whether points (P, 2), x and y, lie inside: bool array (P,)."""

    def area_in(self, rectangle: Rectangle) -> float:
        """Pixels of a rectangle of the image that lie inside."""

    def to_mask(self, size: tuple[int, int], factor: float = 1.0) -> np.ndarray:
        """Bool array of ``size`` (h, w): the image, reduced to ``factor`` of its size."""


class PolygonRegion:
    """Polygons, which may have holes."""

    def __init__(self, polygons: Sequence[shapely.Polygon], name: str = "the region") -> None:
        """Take the polygons.

        Args:
            polygons: at least one; where they overlap, they are one.
            name: of the region in messages.

        Raises:
            RegionError: there is none, or one crosses itself or has no area.
        """
        for number, polygon in enumerate(polygons, start=1):
            if not polygon.is_valid:
                reason = shapely.is_valid_reason(polygon)
                raise RegionError(
                    f"{name}: polygon {number} is not the outline of an area ({reason}); draw it "
                    "so that it does not cross or touch itself"
                )
        self._shape = shapely.union_all(list(polygons))
        self._name = name
        if not self._shape.area:
            raise RegionError(f"{name} is empty; draw a polygon with an area")
        shapely.prepare(self._shape)

    @classmethod
    def of_vertices(cls, vertices: np.ndarray, name: str = "the region") -> "PolygonRegion":
        """Of one polygon's vertices (V, 2), x and y in pixels; raises RegionError."""
        vertices = np.asarray(vertices, dtype=np.float64)
        if vertices.ndim != 2 or vertices.shape[1] != 2 or len(vertices) < 3:
            raise RegionError(f"{name}: a polygon has at least three vertices of x and y")
        if not np.isfinite(vertices).all():
            raise RegionError(f"{name}: a vertex is not finite")
        return cls([shapely.Polygon(vertices)], name)

    @property
    def identity(self) -> str:
        """See :class:`Region`."""
        return hashlib.sha256(shapely.to_wkb(self._shape)).hexdigest()

    def check(self, size: tuple[int, int]) -> None:
        """See :class:`Region`."""
        left, top, right, bottom = self._shape.bounds
        height, width = size
        lowest, highest = min(left, top), max(right - width, bottom - height)
        if lowest < -_BEYOND or highest > _BEYOND:
            raise RegionError(
                f"{self._name} reaches from ({left:g}, {top:g}) to ({right:g}, {bottom:g}), beyond "
                f"the image of {width} x {height} pixels; draw it on this image, at full size"
            )

    def contains(self, points: np.ndarray) -> np.ndarray:
        """See :class:`Region`."""
        return shapely.contains_xy(self._shape, points[:, 0], points[:, 1])

    def area_in(self, rectangle: Rectangle) -> float:
        """See :class:`Region`."""
        box = shapely.box(*rectangle)
        return self._shape.intersection(box).area if self._shape.intersects(box) else 0.0

    def to_mask(self, size: tuple[int, int], factor: float = 1.0) -> np.ndarray:
        """See :class:`Region`."""
        mask = np.zeros(size, np.uint8)
        for polygon in shapely.get_parts(self._shape):
            rings = [polygon.exterior, *polygon.interiors]
            # Sixteenths of a pixel; OpenCV counts from the middle of the first one.
            corners = [np.asarray(ring.coords) * factor - 0.5 for ring in rings]
            corners = [np.rint(16 * each).astype(np.int32) for each in corners]
            cv2.fillPoly(mask, corners, 1, shift=4)
        return mask.astype(bool)


class MaskRegion:
    """A mask, of which a pixel may stand for several of the image."""

    def __init__(self, mask: np.ndarray, step: float = 1.0, name: str = "the region") -> None:
        """Take the mask.

        Args:
            mask: (h, w), not 0 inside.
            step: side of its pixels in those of the image.
            name: of the region in messages.

        Raises:
            RegionError: nothing is inside, or it is no mask.
        """
        if np.ndim(mask) != 2:
            raise RegionError(f"{name}: a mask has a height and a width, not {np.shape(mask)}")
        self.mask, self.step, self._name = np.asarray(mask) != 0, step, name
        if not self.mask.any():
            raise RegionError(f"{name} is empty; give what counts a value above 0")

    @property
    def identity(self) -> str:
        """See :class:`Region`."""
        content = np.packbits(self.mask).tobytes() + repr((self.mask.shape, self.step)).encode()
        return hashlib.sha256(content).hexdigest()

    def enlarged_to(self, size: tuple[int, int]) -> "MaskRegion":
        """The mask as one of an image of ``size`` (height, width), of which it is a small copy."""
        return MaskRegion(self.mask, max(size) / max(self.mask.shape), self._name)

    def check(self, size: tuple[int, int]) -> None:
        """See :class:`Region`."""
        beside = max(
            abs(side / self.step - own) for side, own in zip(size, self.mask.shape, strict=True)
        )
        if beside >= (0.5 if self.step == 1 else 1.0):  # a small copy may round its sides
            height, width = self.mask.shape
            raise RegionError(
                f"{self._name} is a mask of {width} x {height} pixels, but the image has "
                f"{size[1]} x {size[0]}; give a mask of the image's size"
            )

    def contains(self, points: np.ndarray) -> np.ndarray:
        """See :class:`Region`."""
        places = (np.asarray(points) // self.step).astype(int)
        highest = np.array(self.mask.shape[::-1]) - 1
        columns, rows = places.clip(0, highest).T
        return self.mask[rows, columns]

    def area_in(self, rectangle: Rectangle) -> float:
        """See :class:`Region`."""
        left, top, right, bottom = rectangle
        rows, columns = self._covered(0, top, bottom), self._covered(1, left, right)
        inside = self.mask[rows[0], columns[0]]
        return float(rows[1] @ inside @ columns[1])

    def _covered(self, axis, start, stop):
        """The pixels of the mask between two places on an axis, and the length of each there."""
        first = min(max(0, int(start // self.step)), self.mask.shape[axis] - 1)
        last = min(self.mask.shape[axis], int(-(-stop // self.step)))
        edges = np.arange(first, last + 1) * self.step
        if last == self.mask.shape[axis]:  # the last pixel reaches to the end of the image
            edges[-1:] = max(stop, edges[-1])
        return slice(first, last), np.diff(edges.clip(start, stop))

    def to_mask(self, size: tuple[int, int], factor: float = 1.0) -> np.ndarray:
        """See :class:`Region`."""
        rows, columns = (
            np.minimum((np.arange(side) + 0.5) / factor // self.step, highest - 1).astype(int)
            for side, highest in zip(size, self.mask.shape, strict=True)
        )
        return self.mask[np.ix_(rows, columns)]


def whole(size: tuple[int, int]) -> Region:
    """The region that is all of an image of ``size`` (height, width)."""
    return PolygonRegion([shapely.box(0, 0, size[1], size[0])])
