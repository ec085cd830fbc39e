"""The paper's augmentations (section on data augmentation) and stain, built from ``cfg.INPUT``.

Detectron2 has crop, resize, flip, brightness and saturation; hue, stain, blur, noise and the exact
quarter turn are written here. As Detectron2's own, they draw from the global ``np.random``.
"""

import cv2
import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import BlendTransform, NoOpTransform, Transform

_FLIPS = {
    "none": (),
    "horizontal": ("horizontal",),
    "vertical": ("vertical",),
    "both": ("horizontal", "vertical"),
}


class RandomApply(T.RandomApply):
    """Detectron2's, with a text that says what is applied, for the training log."""

    def __repr__(self):
        return f"{type(self).__name__}({self.aug}, prob={self.prob})"

    __str__ = __repr__


class Rotate90Transform(Transform):
    """Rotates by quarter turns counter-clockwise; pixels are moved, never interpolated."""

    def __init__(self, h, w, turns):
        """``h, w``: size of the input image in pixels; ``turns``: quarter turns, 0 to 3."""
        super().__init__()
        self._set_attributes(locals())

    def apply_image(self, img):
        """``img`` (H, W) or (H, W, C) -> the same rotated; (W, H, ...) for an odd ``turns``."""
        return np.rot90(img, self.turns)

    def apply_coords(self, coords):
        """``coords`` (N, 2) of (x, y) in continuous coordinates, 0 to W and 0 to H."""
        x, y = coords[:, 0], coords[:, 1]
        rotated = ((x, y), (y, self.w - x), (self.w - x, self.h - y), (self.h - y, x))
        return np.stack(rotated[self.turns], axis=1)

    def inverse(self):
        """The rotation back."""
        h, w = (self.w, self.h) if self.turns % 2 else (self.h, self.w)
        return Rotate90Transform(h, w, -self.turns % 4)


class RandomRotate90(T.Augmentation):
    """Rotates by a number of quarter turns drawn from ``turns``."""

    def __init__(self, turns=(0, 1, 2, 3)):
        super().__init__()
        self._init(locals())

    def get_transform(self, image):
        """``image`` (H, W, C) -> :class:`Rotate90Transform`."""
        return Rotate90Transform(*image.shape[:2], int(np.random.choice(self.turns)))


class RandomSaturationBGR(T.RandomSaturation):
    """Detectron2's saturation for a BGR image: its grey weights are those of RGB."""

    def get_transform(self, image):
        """``image`` (H, W, 3) BGR -> BlendTransform with the image's grey."""
        return super().get_transform(image[:, :, ::-1])


class RandomHue(T.Augmentation):
    """Turns the hue of a BGR uint8 image by an angle from ``[degrees_min, degrees_max]``.

    An RGB image is turned by the same angle the other way round.
    """

    def __init__(self, degrees_min, degrees_max):
        super().__init__()
        self._init(locals())

    def get_transform(self, image):
        """``image`` (H, W, 3) BGR uint8 -> ColorTransform."""
        degrees = np.random.uniform(self.degrees_min, self.degrees_max)
        return T.ColorTransform(lambda img: _turn_hue(img, degrees))


class RandomStain(T.Augmentation):
    """Stains and exposes an image of three channels, uint8, more or less strongly.

    By Beer and Lambert's law, the amount of a dye is linear in the optical density, minus the
    logarithm of the transmitted light. Each channel's density is multiplied by ``1 + u`` and
    raised by ``v / 4``, with ``u`` and ``v`` from ``[low, high]``.
    """

    def __init__(self, low, high):
        super().__init__()
        self._init(locals())

    def get_transform(self, image):
        """``image`` (H, W, 3) uint8 -> ColorTransform."""
        stain, exposure = np.random.uniform(self.low, self.high, (2, 3))
        density = -np.log((np.arange(256)[:, None] + 1) / 256)
        light = 256 * np.exp(-((1 + stain) * density + exposure / 4)) - 1
        table = np.rint(light).clip(0, 255).astype(np.uint8)
        return T.ColorTransform(lambda img: cv2.LUT(img, table[None]))


class RandomBlur(T.Augmentation):
    """Gaussian blur with a sigma in pixels from ``[sigma_min, sigma_max]``."""

    def __init__(self, sigma_min, sigma_max):
        super().__init__()
        self._init(locals())

    def get_transform(self, image):
        """``image`` (H, W, C) -> ColorTransform."""
        sigma = np.random.uniform(self.sigma_min, self.sigma_max)
        if sigma == 0:
            return NoOpTransform()
        return T.ColorTransform(lambda img: cv2.GaussianBlur(img, (0, 0), sigma))


class RandomNoise(T.Augmentation):
    """Adds white Gaussian noise with a standard deviation from ``[std_min, std_max]``, of 255."""

    def __init__(self, std_min, std_max):
        super().__init__()
        self._init(locals())

    def get_transform(self, image):
        """``image`` (H, W, C) -> BlendTransform that holds the noise."""
        std = np.random.uniform(self.std_min, self.std_max)
        # A new generator draws float32 noise several times faster than np.random does.
        generator = np.random.default_rng(np.random.randint(2**31))
        noise = std * generator.standard_normal(image.shape, dtype=np.float32)
        return BlendTransform(src_image=noise, src_weight=1.0, dst_weight=1.0)


def _turn_hue(image, degrees):
    hsv = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2HSV)
    hsv[..., 0] = (hsv[..., 0] + degrees) % 360
    return np.rint(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * 255).astype(np.uint8)


def build_augmentations(cfg, is_train, scale=1.0):
    """The augmentations that ``cfg.INPUT`` switches on, in the order in which they are applied.

    Crop, quarter turn and flips, resize (after the turn, so that ``INPUT.FIXED_SIZE`` is the size
    of every image), then the photometric changes, whose strength is in pixels of the resized image.

    Args:
        cfg (CfgNode): see ``bccd/config.py`` for the keys.
        is_train (bool): False gives the resize alone.
        scale (float): the sizes to which training images are resized are multiplied by this.

    Returns:
        list[Augmentation]

    Raises:
        ValueError: a key has a value that is not one of those it can take.
    """
    if not is_train:
        return [_resize(cfg, is_train)]
    augmentations = []
    if cfg.INPUT.CROP.ENABLED:
        augmentations.append(RandomApply(_crop(cfg), cfg.INPUT.CROP.PROB))
    if cfg.INPUT.ROTATE90:
        augmentations.append(RandomRotate90())
    augmentations += [_flip(direction, prob=0.5) for direction in _flip_directions(cfg)]
    augmentations.append(_resize(cfg, is_train, scale))
    prob = cfg.INPUT.PHOTOMETRIC.PROB
    for augmentation, low, high in _photometric(cfg).values():
        augmentations.append(RandomApply(augmentation(low, high), prob))
    return augmentations


def named_augmentations(cfg):
    """Each augmentation that ``cfg`` trains with, alone and always applied at its full strength.

    Returns:
        dict[str, Augmentation]: by name, in the order of :func:`build_augmentations`.
    """
    named = {}
    if cfg.INPUT.CROP.ENABLED:
        named["random crop"] = _crop(cfg)
    if cfg.INPUT.ROTATE90:
        named["quarter turn"] = RandomRotate90(turns=(1,))
    for direction in _flip_directions(cfg):
        named[f"{direction} flip"] = _flip(direction, prob=1.0)
    named["resize"] = _resize(cfg, is_train=True)
    for name, (augmentation, _, high) in _photometric(cfg).items():
        named[name] = augmentation(high, high)
    return named


def _crop(cfg):
    return T.RandomCrop(cfg.INPUT.CROP.TYPE, cfg.INPUT.CROP.SIZE)


def _flip_directions(cfg):
    if cfg.INPUT.RANDOM_FLIP not in _FLIPS:
        raise ValueError(
            f"INPUT.RANDOM_FLIP is {cfg.INPUT.RANDOM_FLIP!r}; use one of {', '.join(_FLIPS)}"
        )
    return _FLIPS[cfg.INPUT.RANDOM_FLIP]


def _flip(direction, prob):
    return T.RandomFlip(
        prob, horizontal=direction == "horizontal", vertical=direction == "vertical"
    )


def _resize(cfg, is_train, scale=1.0):
    keys = cfg.INPUT
    if len(keys.FIXED_SIZE) not in (0, 2):
        raise ValueError(f"INPUT.FIXED_SIZE is {keys.FIXED_SIZE}; use (height, width) or ()")
    if scale <= 0:
        raise ValueError(f"INPUT.LOW_RESOLUTION.SCALE is {scale}; use a number above 0")
    if keys.FIXED_SIZE:
        return T.Resize([round(side * scale) for side in keys.FIXED_SIZE])
    if is_train:
        return T.ResizeShortestEdge(
            [round(size * scale) for size in keys.MIN_SIZE_TRAIN],
            round(keys.MAX_SIZE_TRAIN * scale),
            keys.MIN_SIZE_TRAIN_SAMPLING,
        )
    return T.ResizeShortestEdge(keys.MIN_SIZE_TEST, keys.MAX_SIZE_TEST)


def _photometric(cfg):
    """Name -> (augmentation class, lowest, highest strength) of those that are not switched off."""
    keys = cfg.INPUT.PHOTOMETRIC
    saturation = {"BGR": RandomSaturationBGR, "RGB": T.RandomSaturation}.get(cfg.INPUT.FORMAT)
    strengths = {
        "brightness": (T.RandomBrightness, 1 - keys.BRIGHTNESS, 1 + keys.BRIGHTNESS),
        "saturation": (saturation, 1 - keys.SATURATION, 1 + keys.SATURATION),
        "hue": (RandomHue, -keys.HUE, keys.HUE),
        "stain": (RandomStain, -keys.STAIN, keys.STAIN),
        "Gaussian blur": (RandomBlur, 0.0, keys.BLUR_SIGMA),
        "Gaussian noise": (RandomNoise, 0.0, keys.NOISE_STD),
    }
    switched_on = {name: value for name, value in strengths.items() if value[1] != value[2]}
    if switched_on and saturation is None:
        raise ValueError(f"INPUT.PHOTOMETRIC needs INPUT.FORMAT BGR or RGB, not {cfg.INPUT.FORMAT}")
    return switched_on
