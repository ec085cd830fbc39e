"""Random fields and soft steps that the painting of a smear is made of."""

import cv2
import numpy as np


class Textures:
    """Two random fields (height, width) float32 of zero mean and unit variance, fine and coarse."""

    def __init__(self, rng: np.random.Generator, height: int, width: int, scale: float) -> None:
        """``scale``: length of a pixel of the reference size in this image's pixels."""
        self.scale = scale
        self.fine = _smooth_noise(rng, height, width, 2.2 * scale)
        self.coarse = _smooth_noise(rng, height, width, 8.0 * scale)


def _smooth_noise(rng, height, width, sigma):
    # Smooth noise needs few samples: half as many pixels per sigma as it may have without aliasing.
    step = max(sigma / 2, 1.0)
    shape = (int(height / step) + 1, int(width / step) + 1)
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigma / step)
    noise = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return (noise - noise.mean()) / noise.std()


def ramp(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """0 below ``low``, 1 above ``high``, smooth in between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
