"""How a synthetic smear looks: absorbing stains on a lit slide, seen through a camera.

Cells add up optical density, so overlapping red cells darken each other as they do on a slide;
the image is ``light * exp(-density)`` (Beer-Lambert). Colours are medians measured on BCCD.
"""

import cv2
import numpy as np

from bccd.data.synthetic.layout import REFERENCE_AREA

_LIGHT = (200.0, 205.0, 203.0)  # of the empty slide, BGR
# Optical densities (BGR) of what a Wright-Giemsa stain colours.
_RBC = np.array([0.15, 0.24, 0.105], np.float32)
_NUCLEUS = np.array([-0.03, 0.80, 0.46], np.float32)
_PLATELET = np.array([0.0, 0.40, 0.32], np.float32)
_DUST = np.array([0.5, 0.55, 0.5], np.float32)
_CYTOPLASM = {
    "neutrophil": np.array([0.04, 0.28, 0.15], np.float32),
    "eosinophil": np.array([0.10, 0.32, 0.11], np.float32),
    "lymphocyte": np.array([0.0, 0.50, 0.42], np.float32),
    "monocyte": np.array([0.05, 0.30, 0.24], np.float32),
}
# Nuclei: number of lobes (from, to), their ring's and their own radius relative to the cell's,
# and the part of the ring that they fill.
_NUCLEI = {
    "neutrophil": (3, 5, 0.45, 0.25, 0.80),
    "eosinophil": (2, 3, 0.40, 0.30, 0.55),
    "lymphocyte": (1, 1, 0.05, 0.80, 1.00),
    "monocyte": (3, 4, 0.30, 0.36, 0.55),
}


def paint(rng, cells, height, width):
    """Paint the cells onto a slide and photograph it.

    Args:
        rng (numpy.random.Generator): the source of all chance.
        cells (list[Cell]): white cells first, as ``place_cells`` gives them.
        height, width (int): size of the image in pixels.

    Returns:
        array (height, width, 3) uint8 BGR.
    """
    scale = (height * width / REFERENCE_AREA) ** 0.5
    density = np.zeros((height, width, 3), np.float32)
    grain = _grain(rng, height, width, 2.5 * scale)
    stain = np.exp(rng.normal(0, 0.10)) * np.exp(rng.normal(0, 0.05, 3)).astype(np.float32)
    for cell in reversed(cells):
        _PAINTERS.get(cell.kind, _paint_wbc)(rng, density, cell, grain, stain)
    return _photograph(rng, density, scale)


def _grain(rng, height, width, sigma):
    """Smooth noise (height, width) of zero mean and unit variance."""
    noise = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), sigma)
    return (noise - noise.mean()) / noise.std()


def _ramp(x, low, high):
    """0 below ``low``, 1 above ``high``, smooth in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _paint_rbc(rng, density, cell, grain, stain):
    window = cell.outline.window(*density.shape[:2])
    depth = cell.outline.depth(window)
    soft = 1.5 / cell.outline.radius
    thickness = _ramp(depth, -soft, soft) * (1 + 0.15 * np.exp(-(((depth - 0.06) / 0.05) ** 2)))
    pallor = np.clip(rng.normal(0.45, 0.4), -0.15, 0.95)
    start = rng.uniform(0.25, 0.45)
    thickness *= 1 - pallor * _ramp(depth, start - 0.15, start + 0.2)
    thickness *= rng.uniform(0.6, 1.25) * (1 + 0.03 * grain[window])
    density[window] += thickness[..., None] * (_RBC * stain)


def _paint_wbc(rng, density, cell, grain, stain):
    window = cell.outline.window(*density.shape[:2])
    depth = cell.outline.depth(window)
    soft = 2 / cell.outline.radius
    cover = _ramp(depth, -soft, soft)
    granules = 1 + 0.25 * grain[window]
    body = (cover * granules)[..., None] * (_CYTOPLASM[cell.kind] * stain)
    nucleus = _nucleus(rng, cell, window, grain[window]) * _ramp(depth, 0.02, 0.08)
    chromatin = nucleus * (1 + 0.08 * grain[window]) * rng.uniform(0.85, 1.3)
    body = body * (1 - nucleus[..., None]) + chromatin[..., None] * (_NUCLEUS * stain)
    density[window] = density[window] * (1 - cover[..., None]) + body


def _nucleus(rng, cell, window, grain):
    """Coverage (h, w) in 0..1 of a lobed nucleus: the level set of a sum of Gaussian lobes."""
    fewest, most, ring, lobe, filled = _NUCLEI[cell.kind]
    radius = cell.outline.radius
    count = rng.integers(fewest, most + 1)
    turns = rng.random() + filled * (np.arange(count) + rng.uniform(-0.2, 0.2, count)) / count
    rows, columns = window
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + 0.5 - cell.outline.center[0]
    y = np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5 - cell.outline.center[1]
    field = np.zeros((y.size, x.size), np.float32)
    for turn in turns:
        distance = radius * ring * rng.uniform(0.8, 1.15)
        sigma = radius * lobe * rng.uniform(0.85, 1.15)
        dx = x - distance * np.cos(2 * np.pi * turn)
        dy = y - distance * np.sin(2 * np.pi * turn)
        field += np.exp(-(dx**2 + dy[:, None] ** 2) / sigma**2)
    return _ramp(field + 0.02 * grain, 0.33, 0.43)


def _paint_platelet(rng, density, cell, grain, stain):
    window = cell.outline.window(*density.shape[:2])
    depth = cell.outline.depth(window)
    body = _ramp(depth, -0.1, 0.35) * (1 + 0.3 * grain[window]) * rng.uniform(0.6, 1.3)
    density[window] += body[..., None] * (_PLATELET * stain)


_PAINTERS = {"RBC": _paint_rbc, "platelet": _paint_platelet}


def _photograph(rng, density, scale):
    """Uneven light, absorption, optics, sensor noise and a camera's soft colours."""
    height, width = density.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    tilt = rng.normal(0, 0.015, 2).astype(np.float32)
    light = 1 + tilt[0] * x + tilt[1] * y - 0.02 * (x * x + y * y)
    color = np.array(_LIGHT, np.float32) * (1 + rng.normal(0, 0.012)) + rng.normal(0, 1.5, 3)
    image = np.exp(-density) * light[..., None] * color.astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), scale * rng.uniform(1.0, 1.8))
    image += 2.0 * rng.standard_normal(image.shape, dtype=np.float32)
    image = cv2.cvtColor(np.clip(image, 0, 255) / 255, cv2.COLOR_BGR2YCrCb)
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    image[..., 1:] = cv2.resize(small, (width, height))[..., 1:]
    image[..., 0] = cv2.GaussianBlur(image[..., 0], (0, 0), 0.6)
    image = cv2.cvtColor(image, cv2.COLOR_YCrCb2BGR)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
