"""Photometric changes of uint8 images: the paper's (section on data augmentation) and stain.

Like Detectron2's augmentations, they draw from the global ``np.random``, which the mapper seeds for
every sample; ``torchvision.transforms.v2`` draws from PyTorch's generator. Pixels are computed by
OpenCV in one pass and rounded to the nearest level. On an image of 416 x 320, brightness,
saturation, hue and blur take 0.05, 0.05, 1 and 0.9 ms, with ``v2.functional`` 1.2, 3, 30 and 16 ms.
"""

from functools import cache

import cv2
import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import NoOpTransform


class RandomBrightness(T.RandomBrightness):
    """Multiplies a uint8 image by a factor from the range."""

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, C) uint8 -> ColorTransform."""
        factor = np.random.uniform(self.intensity_min, self.intensity_max)
        return T.ColorTransform(lambda img: cv2.convertScaleAbs(img, alpha=factor))


class RandomSaturation(T.RandomSaturation):
    """Blends a uint8 image, weighted by a number from the range, with its grey version.

    A weight above 1 makes the colours stronger.
    """

    grey = (0.299, 0.587, 0.114)  # of the channels R, G, B

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, 3) uint8 -> ColorTransform."""
        weight = np.random.uniform(self.intensity_min, self.intensity_max)
        matrix = weight * np.eye(3) + (1 - weight) * np.array(self.grey)
        return T.ColorTransform(lambda img: cv2.transform(img, matrix))


class RandomSaturationBGR(RandomSaturation):
    """The same for a BGR image."""

    grey = RandomSaturation.grey[::-1]


class RandomHue(T.Augmentation):
    """Turns the hue of a BGR uint8 image by an angle from ``[degrees_min, degrees_max]``.

    An RGB image is turned by the same angle the other way round.
    """

    def __init__(self, degrees_min: float, degrees_max: float) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, 3) BGR uint8 -> ColorTransform."""
        degrees = np.random.uniform(self.degrees_min, self.degrees_max)
        return T.ColorTransform(lambda img: _turn_hue(img, degrees))


class RandomStain(T.Augmentation):
    """Changes the strength of stain and exposure of a uint8 image of three channels.

    By the Beer-Lambert law, the amount of a dye is proportional to the optical density, which is
    minus the logarithm of the transmitted light. Each channel's density is multiplied by ``1 + u``
    and raised by ``v / 4``, with ``u`` and ``v`` from ``[low, high]``.
    """

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, 3) uint8 -> ColorTransform."""
        stain, exposure = np.random.uniform(self.low, self.high, (2, 3))
        density = -np.log((np.arange(256)[:, None] + 1) / 256)
        light = 256 * np.exp(-((1 + stain) * density + exposure / 4)) - 1
        table = np.rint(light).clip(0, 255).astype(np.uint8)
        return T.ColorTransform(lambda img: cv2.LUT(img, table[None]))


class RandomBlur(T.Augmentation):
    """Gaussian blur with a sigma in pixels from ``[sigma_min, sigma_max]``."""

    def __init__(self, sigma_min: float, sigma_max: float) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, C) -> ColorTransform."""
        sigma = np.random.uniform(self.sigma_min, self.sigma_max)
        if sigma == 0:
            return NoOpTransform()
        return T.ColorTransform(lambda img: cv2.GaussianBlur(img, (0, 0), sigma))


class RandomNoise(T.Augmentation):
    """Adds white Gaussian noise with a standard deviation from ``[std_min, std_max]``, of 255."""

    def __init__(self, std_min: float, std_max: float) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, C) uint8 -> ColorTransform that holds the noise."""
        std = np.random.uniform(self.std_min, self.std_max)
        # Whole levels from a table of quantiles: drawing normal numbers takes 6 times as long.
        levels = np.rint(std * _normal_quantiles()).astype(np.int16)
        generator = np.random.default_rng(np.random.randint(2**31))
        noise = levels.take(generator.integers(2**16, size=image.shape, dtype=np.uint16))
        return T.ColorTransform(lambda img: cv2.add(img, noise, dtype=cv2.CV_8U))


class RandomVignette(T.Augmentation):
    """Darkens a uint8 image from a point near its middle outwards, as an eyepiece does.

    The light at the farthest corner is 1 minus a share from ``[share_min, share_max]``; it falls
    with the square of the distance.
    """

    def __init__(self, share_min: float, share_max: float) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, C) uint8 -> ColorTransform."""
        share = np.random.uniform(self.share_min, self.share_max)
        height, width = image.shape[:2]
        y = np.arange(height) + 0.5 - height * np.random.uniform(0.3, 0.7)
        x = np.arange(width) + 0.5 - width * np.random.uniform(0.3, 0.7)
        squared = np.add.outer(y**2, x**2).astype(np.float32)
        light = 1 - share * squared / squared.max()
        return T.ColorTransform(lambda img: np.rint(img * light[..., None]).astype(np.uint8))


class RandomCompression(T.Augmentation):
    """Shrinks a uint8 image, saves it as JPEG and enlarges it again, as pictures of phones are.

    The factor of shrinking is from ``[factor_min, factor_max]``, evenly in its logarithm; the
    quality of the JPEG is from 30 to 95.
    """

    def __init__(self, factor_min: float, factor_max: float) -> None:
        super().__init__()
        self._init(locals())

    def get_transform(self, image: np.ndarray) -> T.Transform:
        """``image`` (H, W, 3) BGR uint8 -> ColorTransform."""
        factor = np.exp(np.random.uniform(*np.log((self.factor_min, self.factor_max))))
        quality = int(np.random.randint(30, 96))
        return T.ColorTransform(lambda img: _compressed(img, quality, factor))


def _compressed(image, quality, factor):
    size = image.shape[1::-1]
    small = tuple(max(1, round(side / factor)) for side in size)
    image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    return cv2.resize(cv2.imdecode(encoded, cv2.IMREAD_COLOR), size)


def _turn_hue(image, degrees):
    hsv = cv2.cvtColor(image.astype(np.float32), cv2.COLOR_BGR2HSV)
    cv2.add(hsv, (degrees % 360, 0, 0, 0), dst=hsv)  # OpenCV takes angles of 360 and more
    return cv2.convertScaleAbs(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR, dst=hsv))


@cache
def _normal_quantiles():
    """Quantiles of the normal distribution, one for every number of 16 bits."""
    from scipy.special import ndtri  # slow to load, and counting needs none of it

    return ndtri((np.arange(2**16) + 0.5) / 2**16)
