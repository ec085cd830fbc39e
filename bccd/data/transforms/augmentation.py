"""The augmentations that ``cfg.INPUT`` describes, in the order in which they are applied."""

from detectron2.config import CfgNode
from detectron2.data import transforms as T

from bccd.data.transforms.geometry import RandomFlip, RandomRotate90, Resize, ResizeShortestEdge
from bccd.data.transforms.photometric import (
    RandomBlur,
    RandomBrightness,
    RandomCompression,
    RandomHue,
    RandomNoise,
    RandomSaturation,
    RandomSaturationBGR,
    RandomStain,
    RandomVignette,
)

_FLIPS = {
    "none": (),
    "horizontal": ("horizontal",),
    "vertical": ("vertical",),
    "both": ("horizontal", "vertical"),
}


class RandomApply(T.RandomApply):
    """Detectron2's, with a text that says what is applied, for the training log."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.aug}, prob={self.prob})"

    __str__ = __repr__


def build_augmentations(cfg: CfgNode, is_train: bool, scale: float = 1.0) -> list[T.Augmentation]:
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


def named_augmentations(cfg: CfgNode) -> dict[str, T.Augmentation]:
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
    return RandomFlip(prob, horizontal=direction == "horizontal", vertical=direction == "vertical")


def _resize(cfg, is_train, scale=1.0):
    keys = cfg.INPUT
    if len(keys.FIXED_SIZE) not in (0, 2):
        raise ValueError(f"INPUT.FIXED_SIZE is {keys.FIXED_SIZE}; use (height, width) or ()")
    if scale <= 0:
        raise ValueError(f"INPUT.LOW_RESOLUTION.SCALE is {scale}; use a number above 0")
    if not is_train:  # Pillow's, which is everybody's: results do not depend on a rounding here
        if keys.FIXED_SIZE:
            return T.Resize(keys.FIXED_SIZE)
        return T.ResizeShortestEdge(keys.MIN_SIZE_TEST, keys.MAX_SIZE_TEST)
    if keys.FIXED_SIZE:
        return Resize([round(side * scale) for side in keys.FIXED_SIZE])
    return ResizeShortestEdge(
        [round(size * scale) for size in keys.MIN_SIZE_TRAIN],
        round(keys.MAX_SIZE_TRAIN * scale),
        keys.MIN_SIZE_TRAIN_SAMPLING,
    )


def _photometric(cfg):
    """Name -> (augmentation class, lowest, highest strength) of those that are not switched off."""
    keys = cfg.INPUT.PHOTOMETRIC
    if not keys.ENABLED:
        return {}
    saturation = {"BGR": RandomSaturationBGR, "RGB": RandomSaturation}.get(cfg.INPUT.FORMAT)
    strengths = {
        "brightness": (RandomBrightness, 1 - keys.BRIGHTNESS, 1 + keys.BRIGHTNESS),
        "saturation": (saturation, 1 - keys.SATURATION, 1 + keys.SATURATION),
        "hue": (RandomHue, -keys.HUE, keys.HUE),
        "stain": (RandomStain, -keys.STAIN, keys.STAIN),
        "Gaussian blur": (RandomBlur, 0.0, keys.BLUR_SIGMA),
        "Gaussian noise": (RandomNoise, 0.0, keys.NOISE_STD),
        "vignette": (RandomVignette, 0.0, keys.VIGNETTE),
        "compression": (RandomCompression, 1.0, keys.COMPRESSION),
    }
    switched_on = {name: value for name, value in strengths.items() if value[1] != value[2]}
    if switched_on and saturation is None:
        raise ValueError(f"INPUT.PHOTOMETRIC needs INPUT.FORMAT BGR or RGB, not {cfg.INPUT.FORMAT}")
    return switched_on
