"""Which cells a synthetic smear shows, where, and their exact boxes.

Numbers and sizes are those measured on BCCD's 364 annotated images of 480x640 pixels; at another
size the same field of view is drawn with smaller or larger pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccd.data.bccd_classes import CLASS_NAMES

REFERENCE_AREA = 480 * 640

# Share of BCCD's images with 0, 1, 2, ... cells of a class.
_WBC_COUNTS = np.array([6, 344, 14]) / 364
_PLATELET_COUNTS = np.array([163, 96, 69, 21, 12, 2, 1]) / 364
_RBC_COUNT = (11.6, 4.6, 27)  # mean, standard deviation, maximum

# Kinds of white cells: share and radius in pixels (mean, standard deviation).
_WBC_KINDS = {
    "neutrophil": (0.45, 101, 11),
    "eosinophil": (0.18, 102, 11),
    "lymphocyte": (0.27, 69, 7),
    "monocyte": (0.10, 108, 9),
}

_CANDIDATES = 40  # positions tried for a cell before it is left out


@dataclass(frozen=True)
class Outline:
    """An ellipse whose radius is modulated by a few harmonics; lengths in pixels."""

    center: tuple  # (x, y)
    radii: tuple  # the ellipse's half axes
    angle: float  # of the first half axis, in radians
    waves: tuple  # complex relative amplitudes of the harmonics 2, 3, ... of the turn

    @property
    def radius(self) -> float:
        """Geometric mean of the half axes."""
        return (self.radii[0] * self.radii[1]) ** 0.5

    def scaled(self, factor: float, offset: Sequence[float] | np.ndarray) -> "Outline":
        """The outline ``factor`` times as large, moved by ``offset`` (x, y) times its radius."""
        center = (
            self.center[0] + offset[0] * self.radius,
            self.center[1] + offset[1] * self.radius,
        )
        radii = (self.radii[0] * factor, self.radii[1] * factor)
        return Outline(center, radii, self.angle, self.waves)

    def window(self, height: int, width: int) -> tuple[slice, slice]:
        """(rows, columns) of the image part that holds the outline; maybe empty."""
        reach = max(self.radii) * (1 + sum(abs(wave) for wave in self.waves)) + 2
        (x, y) = self.center
        # A negative stop would count from the other side of the image.
        rows = slice(max(int(y - reach), 0), max(min(int(y + reach) + 1, height), 0))
        columns = slice(max(int(x - reach), 0), max(min(int(x + reach) + 1, width), 0))
        return rows, columns

    def depth(self, window: tuple[slice, slice]) -> np.ndarray:
        """Depth of the window's pixel centres: 1 at the centre, 0 on the outline, below 0 outside.

        Returns:
            array (h, w) float32; times ``radius`` it is roughly the distance to the edge in pixels.
        """
        rows, columns = window
        x = np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - self.center[0]
        y = np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - self.center[1]
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        point = np.empty((y.size, x.size), np.complex64)
        point.real = (x * cos + y[:, None] * sin) / self.radii[0]
        point.imag = (y[:, None] * cos - x * sin) / self.radii[1]
        distance = np.abs(point)
        direction = point / np.maximum(distance, 1e-6)
        edge, harmonic = 1.0, direction
        for wave in self.waves:
            harmonic = harmonic * direction
            edge = edge + wave.real * harmonic.real - wave.imag * harmonic.imag
        return 1 - distance / edge


@dataclass(frozen=True)
class Cell:
    """One cell: its kind ("RBC", "platelet" or a kind of white cell) and outline."""

    kind: str
    outline: Outline

    @property
    def category_id(self) -> int:
        """Index of the cell's class in ``CLASS_NAMES``."""
        return CLASS_NAMES.index({"RBC": "RBC", "platelet": "Platelets"}.get(self.kind, "WBC"))

    @property
    def is_wbc(self) -> bool:
        """White cells hide what lies under them; the others are translucent."""
        return self.kind in _WBC_KINDS


def place_cells(rng: np.random.Generator, height: int, width: int) -> list[Cell]:
    """Draw the cells of a field of view, white cells first.

    Args:
        rng: the source of all chance.
        height, width: size of the image in pixels.
    """
    scale = (height * width / REFERENCE_AREA) ** 0.5
    cells = []
    for kind in rng.choice(list(_WBC_KINDS), rng.choice(3, p=_WBC_COUNTS), p=_shares()):
        radius = scale * max(rng.normal(*_WBC_KINDS[kind][1:]), 55)
        _place(rng, cells, str(kind), radius, height, width)
    mean, std, most = _RBC_COUNT
    for _ in range(int(np.clip(np.rint(rng.normal(mean, std)), 0, most))):
        radius = scale * np.clip(rng.normal(51, 4.5), 38, 64)
        _place(rng, cells, "RBC", radius, height, width)
    for _ in range(rng.choice(7, p=_PLATELET_COUNTS)):
        radius = scale * 19.5 * np.exp(0.18 * rng.normal())
        _place(rng, cells, "platelet", radius, height, width)
    return cells


def _shares():
    return [share for share, _, _ in _WBC_KINDS.values()]


def _place(rng, cells, kind, radius, height, width):
    """Append a cell at the first of several candidate positions that has room for it."""
    inset = 0.6 * radius if kind in _WBC_KINDS else 0.0
    frame = np.array([width, height], dtype=float)
    points = inset + rng.random((_CANDIDATES, 2)) * (frame - 2 * inset)
    neighbours = [cell.outline for cell in cells if cell.kind == kind == "RBC"]
    if neighbours:  # red cells clump: half of the candidates touch or overlap another one
        chosen = [neighbours[i] for i in rng.integers(len(neighbours), size=_CANDIDATES // 2)]
        turn = 2 * np.pi * rng.random(len(chosen))
        gap = rng.uniform(0.65, 1.1, len(chosen)) * [radius + other.radius for other in chosen]
        offsets = gap[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        points[::2] = [other.center for other in chosen] + offsets
    free = ((points >= inset) & (points <= frame - inset)).all(axis=1)
    for cell in cells:
        distance = np.hypot(*(points - cell.outline.center).T)
        spacing = 0.65 if cell.kind == kind == "RBC" else 0.98
        free &= distance >= spacing * (radius + cell.outline.radius)
    if free.any():
        cells.append(Cell(kind, _outline(rng, kind, radius, points[free.argmax()])))


def _outline(rng, kind, radius, center):
    stretch = np.exp(abs(rng.normal(0, 0.08 if kind == "RBC" else 0.05)))
    wobble = 0.03 if kind == "platelet" else 0.018
    waves = rng.normal(0, wobble, 3) + 1j * rng.normal(0, wobble, 3)
    return Outline(
        center=(float(center[0]), float(center[1])),
        radii=(float(radius * stretch), float(radius / stretch)),
        angle=float(np.pi * rng.random()),
        waves=tuple(complex(wave) for wave in waves),
    )


def visible_boxes(cells: Sequence[Cell], height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Tight boxes of what is seen of each cell inside the image; a cell that is not is left out.

    Returns:
        boxes (M, 4) float32 XYXY in pixels, whole numbers; classes (M,) int64.
    """
    hidden = np.zeros((height, width), dtype=bool)
    boxes, classes = [], []
    for cell in cells:  # white cells come first, so all that can hide is known
        window = cell.outline.window(height, width)
        inside = (cell.outline.depth(window) > 0) & ~hidden[window]
        if cell.is_wbc:
            hidden[window] |= inside
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if rows.size:
            x, y = window[1].start, window[0].start
            boxes.append((x + columns[0], y + rows[0], x + columns[-1] + 1, y + rows[-1] + 1))
            classes.append(cell.category_id)
    return np.array(boxes, np.float32).reshape(-1, 4), np.array(classes, np.int64)
