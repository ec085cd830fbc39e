"""How a synthetic smear looks: stains that absorb light, seen through a camera.

Everything on the slide adds optical density and the image is ``light * exp(-density)`` (the law of
Beer and Lambert), so that cells which overlap darken each other. Colours, blur and noise are set to
what was measured on BCCD.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from bccd.data.synthetic.layout import REFERENCE_AREA, Cell
from bccd.data.synthetic.leukocytes import paint_leukocyte
from bccd.data.synthetic.textures import Textures, ramp

_LIGHT = (200.0, 205.0, 203.0)  # of the empty slide, BGR
# Optical densities (BGR).
_RBC = np.array([0.20, 0.27, 0.12], np.float32)
_PLATELET = np.array([0.0, 0.36, 0.31], np.float32)
_REFRACTION = np.array([0.16, 0.45, 0.30], np.float32)
_DUST = np.array([0.30, 0.33, 0.30], np.float32)
_RBC_SATURATION = 1.8  # thickness, in cells, that a pile of red cells approaches


def paint(rng: np.random.Generator, cells: Sequence[Cell], height: int, width: int) -> np.ndarray:
    """Paint the cells onto a slide and photograph it.

    Args:
        rng: the source of all chance.
        cells: white cells first, as ``place_cells`` gives them.
        height, width: size of the image in pixels.

    Returns:
        array (height, width, 3) uint8 BGR.
    """
    scale = (height * width / REFERENCE_AREA) ** 0.5
    textures = Textures(rng, height, width, scale)
    stain = (np.exp(rng.normal(0, 0.15)) * np.exp(rng.normal(0, 0.06, 3))).astype(np.float32)

    thickness = np.zeros((height, width), np.float32)
    density = np.zeros((height, width, 3), np.float32)
    _dirty(rng, density, scale)
    refracts = rng.random() < 0.4  # the drying artefact is in all red cells of a slide or in none
    for cell in cells:
        if cell.kind == "RBC":
            _paint_rbc(rng, thickness, cell, textures)
            if refracts and rng.random() < 0.4:
                _paint_refraction(rng, density, cell)
    thickness = _RBC_SATURATION * (1 - np.exp(-thickness / _RBC_SATURATION))
    density += thickness[..., None] * (_RBC * stain)
    for cell in cells:
        if cell.kind == "platelet":
            _paint_platelet(rng, density, cell, textures, stain)
        elif cell.is_wbc:
            paint_leukocyte(rng, density, cell, textures, stain)
    return _photograph(rng, density, textures, scale)


def _dirty(rng, density, scale):
    """Specks of dust and faint threads: what is on a slide and is no cell."""
    height, width = density.shape[:2]
    dirt = np.zeros((height, width), np.float32)
    for _ in range(rng.poisson(5)):
        x, y = (rng.random(2) * (width, height)).astype(int).tolist()
        cv2.circle(dirt, (x, y), max(round(scale * rng.uniform(0.8, 2.6)), 1), rng.uniform(0.3, 1))
    for _ in range(rng.poisson(0.6)):
        start = rng.random(2) * (width, height)
        steps = np.cumsum(rng.normal(0, 1, (12, 2)) + rng.normal(0, 1, 2), axis=0)
        thread = np.rint(start + 12 * scale * steps).astype(np.int32)
        cv2.polylines(dirt, [thread], False, 0.25, 1, cv2.LINE_AA)
    density += cv2.GaussianBlur(dirt, (0, 0), 0.8 * scale)[..., None] * _DUST


def _paint_rbc(rng, thickness, cell, textures):
    outline = cell.outline
    window = outline.window(*thickness.shape)
    depth = outline.depth(window)
    soft = rng.uniform(1.0, 5.0) / outline.radius * textures.scale
    rim = np.exp(-(((depth - 0.07) / 0.06) ** 2)) * rng.uniform(0.0, 0.25)
    halo = np.exp(-(((depth + 0.05) / 0.03) ** 2)) * -0.08
    disc = ramp(depth, -soft, soft) * (1 + rim)
    pallor = np.clip(rng.normal(0.45, 0.40), -0.1, 0.9)
    center = outline.scaled(rng.uniform(0.45, 0.65), rng.normal(0, 0.08, 2)).depth(window)
    disc *= 1 - pallor * ramp(center, -rng.uniform(0.15, 0.5), 0.35)
    disc *= rng.uniform(0.6, 1.5) * (1 + 0.04 * textures.fine[window])
    disc *= 1 + 0.06 * textures.coarse[window]
    thickness[window] += disc + halo


def _paint_refraction(rng, density, cell):
    """A bright spot in a dark ring, off the middle: an artefact of drying."""
    size = rng.uniform(0.08, 0.22)
    offset = rng.normal(0, 0.2, 2)
    spot = cell.outline.scaled(size, offset)
    window = spot.scaled(2.0, (0, 0)).window(*density.shape[:2])
    depth = spot.depth(window)
    ring = np.exp(-((depth / 0.25) ** 2)) - rng.uniform(0.0, 0.6) * ramp(depth, 0.2, 0.6)
    density[window] += (rng.uniform(0.4, 1.2) * ring)[..., None] * _REFRACTION


def _paint_platelet(rng, density, cell, textures, stain):
    window = cell.outline.window(*density.shape[:2])
    depth = cell.outline.depth(window)
    soft = rng.uniform(0.2, 0.6)
    body = ramp(depth, -0.1, soft) * (1 + 0.2 * textures.fine[window])
    core = 0.5 * ramp(depth + 0.15 * textures.coarse[window], 0.2, 0.8)
    amount = (body + core) * rng.uniform(0.45, 1.1)
    tint = np.array([0.03, 0.0, 0.05], np.float32) * rng.normal()
    density[window] += amount[..., None] * (_PLATELET * stain + tint)


def _photograph(rng, density, textures, scale):
    """Uneven light, absorption, optics, sensor noise and a camera's soft colours."""
    height, width = density.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)
    tilt = rng.normal(0, 0.015, 2).astype(np.float32)
    light = 1 + tilt[0] * x + tilt[1] * y - np.float32(0.02) * (x * x + y * y)
    light += np.float32(0.006) * textures.coarse + np.float32(0.004) * textures.fine
    color = np.array(_LIGHT) * (1 + rng.normal(0, 0.015)) + rng.normal(0, 2.0, 3)
    image = np.exp(-density) * light[..., None] * color.astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), scale * rng.uniform(1.0, 2.2))
    image += 2.3 * rng.standard_normal(image.shape, dtype=np.float32)
    image = cv2.cvtColor(np.clip(image, 0, 255) / 255, cv2.COLOR_BGR2YCrCb)
    # A JPEG keeps colour at half the resolution and loses the finest detail of the brightness.
    small = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    image[..., 1:] = cv2.resize(small, (width, height))[..., 1:]
    image[..., 0] = cv2.GaussianBlur(image[..., 0], (0, 0), 0.6)
    image = cv2.cvtColor(image, cv2.COLOR_YCrCb2BGR)
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
