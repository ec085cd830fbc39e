"""Painting white cells: granular cytoplasm around a nucleus of one or more lobes."""

import math
from dataclasses import dataclass

import numpy as np

from bccd.data.synthetic.layout import Cell
from bccd.data.synthetic.textures import Textures, ramp

_NUCLEUS = np.array([-0.03, 0.74, 0.42], np.float32)  # optical density, BGR


@dataclass(frozen=True)
class _Look:
    cytoplasm: tuple  # optical density, BGR
    lobes: tuple  # fewest and most lobes of the nucleus
    ring: float  # distance of the lobes from the cell's centre, relative to its radius
    lobe: float  # radius of a lobe, relative to the cell's
    arc: float  # part of a full turn over which the lobes are spread
    stain: tuple  # weakest and strongest stain of the nucleus


_LOOKS = {
    "neutrophil": _Look((0.05, 0.25, 0.12), (3, 5), 0.47, 0.25, 0.90, (0.85, 1.25)),
    "eosinophil": _Look((0.10, 0.33, 0.13), (2, 3), 0.42, 0.30, 0.65, (0.85, 1.25)),
    "lymphocyte": _Look((0.0, 0.55, 0.45), (1, 1), 0.04, 1.20, 1.00, (1.0, 1.6)),
    "monocyte": _Look((0.05, 0.30, 0.22), (4, 5), 0.30, 0.38, 0.50, (0.7, 1.0)),
}


def paint_leukocyte(
    rng: np.random.Generator,
    density: np.ndarray,
    cell: Cell,
    textures: Textures,
    stain: np.ndarray,
) -> None:
    """Add one white cell to the slide's optical ``density`` (H, W, 3), hiding what is below it."""
    look = _LOOKS[cell.kind]
    window = cell.outline.window(*density.shape[:2])
    depth = cell.outline.depth(window)
    fine, coarse = textures.fine[window], textures.coarse[window]
    soft = 2.5 * textures.scale / cell.outline.radius
    cover = ramp(depth, -soft, soft)
    granules = cover * (1 + 0.16 * fine + 0.18 * coarse) * rng.uniform(0.8, 1.15)
    body = granules[..., None] * (np.array(look.cytoplasm, np.float32) * stain)
    nucleus, core = _nucleus(rng, look, cell.outline, window, coarse)
    nucleus *= ramp(depth, 0.02, 0.09)
    chromatin = nucleus * (1 + 0.07 * fine + 0.10 * coarse - 0.15 * core) * rng.uniform(*look.stain)
    body = body * (1 - nucleus[..., None]) + chromatin[..., None] * (_NUCLEUS * stain)
    density[window] = density[window] * (1 - cover[..., None]) + body


def _nucleus(rng, look, outline, window, coarse):
    """Level set of a sum of Gaussian lobes: coverage (h, w) in 0..1, and how deep inside."""
    count = rng.integers(look.lobes[0], look.lobes[1] + 1)
    turns = rng.random() + look.arc * (np.arange(count) + rng.uniform(-0.25, 0.25, count)) / count
    rows, columns = window
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - outline.center[0]
    y = np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - outline.center[1]
    field = np.zeros((y.size, x.size), np.float32)
    for turn in turns.tolist():
        distance = outline.radius * look.ring * rng.uniform(0.75, 1.2)
        dx = x - distance * math.cos(2 * math.pi * turn)
        dy = y - distance * math.sin(2 * math.pi * turn)
        width = outline.radius * look.lobe * rng.uniform(0.85, 1.15)
        height = outline.radius * look.lobe * rng.uniform(0.85, 1.15)
        field += np.exp(-((dx / width) ** 2) - ((dy / height) ** 2)[:, None])
    field += 0.035 * coarse
    return ramp(field, 0.32, 0.44), ramp(field, 0.5, 1.0)
