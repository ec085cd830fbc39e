import colorsys

import cv2
import numpy as np
import pytest
from detectron2.data import transforms as T

from bccd.config import get_bccd_cfg
from bccd.data.transforms.augmentation import build_augmentations, named_augmentations
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

STRENGTHS = {
    "BRIGHTNESS": 0.3,
    "SATURATION": 0.4,
    "HUE": 15.0,
    "STAIN": 0.1,
    "BLUR_SIGMA": 2.0,
    "NOISE_STD": 8.0,
    "VIGNETTE": 0.5,
    "COMPRESSION": 3.0,
}


def _cfg(**strengths):
    cfg = get_bccd_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN = (0,)
    cfg.INPUT.RANDOM_FLIP = "none"
    cfg.INPUT.PHOTOMETRIC.ENABLED, cfg.INPUT.PHOTOMETRIC.PROB = True, 1.0
    for key, value in strengths.items():
        cfg.INPUT.PHOTOMETRIC[key] = value
    return cfg


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(30, 220, (24, 32, 3), dtype=np.uint8)


@pytest.mark.parametrize("key", STRENGTHS)
def test_each_changes_pixels_and_nothing_else(key, image):
    boxes = np.array([[3.0, 4.0, 20.0, 18.0]])
    np.random.seed(0)
    original = image.copy()
    augmented = T.AugInput(image, boxes=boxes.copy())
    augmentations = build_augmentations(_cfg(**{key: STRENGTHS[key]}), True)
    transforms = T.AugmentationList(augmentations)(augmented)
    assert augmented.image.shape == image.shape and augmented.image.dtype == np.uint8
    assert not np.array_equal(augmented.image, original)
    assert np.array_equal(augmented.boxes, boxes)
    assert np.array_equal(image, original)
    assert np.array_equal(transforms.apply_image(image), augmented.image)  # chance is drawn once


def test_zero_and_testing_switch_them_off():
    assert len(build_augmentations(_cfg(), is_train=True)) == 1
    assert len(build_augmentations(_cfg(**STRENGTHS), is_train=True)) == 1 + len(STRENGTHS)
    assert len(build_augmentations(_cfg(**STRENGTHS), is_train=False)) == 1


def test_probability_zero_changes_nothing(image):
    cfg = _cfg(**STRENGTHS)
    cfg.INPUT.PHOTOMETRIC.PROB = 0.0
    augmented = T.AugInput(image)
    T.AugmentationList(build_augmentations(cfg, True))(augmented)
    assert np.array_equal(augmented.image, image)


@pytest.mark.parametrize("factor", [0.0, 0.7, 1.0, 1.6])
def test_brightness_multiplies(image, factor):
    brightened = RandomBrightness(factor, factor).get_transform(image).apply_image(image)
    assert np.abs(brightened - (factor * image).clip(0, 255)).max() <= 0.501


@pytest.mark.parametrize("weight", [0.0, 0.6, 1.0, 1.4])
@pytest.mark.parametrize("augmentation", [RandomSaturation, RandomSaturationBGR])
def test_saturation_is_detectron2s_to_a_rounding(image, weight, augmentation):
    saturated = augmentation(weight, weight).get_transform(image).apply_image(image)
    order = slice(None, None, -1 if augmentation is RandomSaturationBGR else 1)
    plain = T.RandomSaturation(weight, weight).get_transform(image[..., order])
    assert np.abs(saturated - plain.apply_image(image.astype(float)).clip(0, 255)).max() <= 0.75


def test_saturation_takes_the_grey_of_bgr(image):
    transform = RandomSaturationBGR(0.0, 0.0).get_transform(image)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None].astype(int)
    assert np.abs(transform.apply_image(image) - grey).max() <= 1


@pytest.mark.parametrize("degrees", [-40.0, 25.0, 359.0])
def test_hue_turns_the_colour_circle(image, degrees):
    turned = RandomHue(degrees, degrees).get_transform(image).apply_image(image)
    for pixel, result in zip(image.reshape(-1, 3)[:40], turned.reshape(-1, 3), strict=False):
        hue, saturation, value = colorsys.rgb_to_hsv(*(pixel[::-1] / 255))
        rgb = colorsys.hsv_to_rgb((hue + degrees / 360) % 1, saturation, value)
        assert np.abs(np.array(rgb)[::-1] * 255 - result).max() <= 1


@pytest.mark.parametrize("strength", [-0.2, 0.3])
def test_stain_scales_and_shifts_the_optical_density(image, strength):
    stained = RandomStain(strength, strength).get_transform(image).apply_image(image)
    density = -np.log((image + 1.0) / 256)
    light = 256 * np.exp(-density * (1 + strength) - strength / 4) - 1
    assert np.abs(stained - light.clip(0, 255)).max() <= 0.51


def test_stain_changes_each_channel_by_itself():
    grey = np.full((4, 4, 3), 128, np.uint8)
    np.random.seed(0)
    stained = RandomStain(-0.3, 0.3).get_transform(grey).apply_image(grey)
    assert len(set(stained[0, 0].tolist())) == 3 and len(np.unique(stained)) == 3


def test_blur_is_gaussian_with_its_sigma():
    point = np.zeros((41, 41, 3), np.uint8)
    point[20, 20] = 255
    blurred = RandomBlur(1.0, 1.0).get_transform(point).apply_image(point)[..., 0]
    offsets = np.arange(-20, 21)
    bell = np.exp(-(offsets**2) / 2)
    expected = 255 * np.outer(bell, bell) / bell.sum() ** 2
    assert np.abs(blurred - expected).max() <= 1
    assert np.array_equal(RandomBlur(0.0, 0.0).get_transform(point).apply_image(point), point)


def test_noise_has_its_standard_deviation():
    grey = np.full((120, 120, 3), 128, np.uint8)
    np.random.seed(0)
    noise = RandomNoise(9.0, 9.0).get_transform(grey).apply_image(grey) - 128.0
    assert abs(noise.std() - 9) < 0.3 and abs(noise.mean()) < 0.3
    assert abs((np.abs(noise) > 2 * 9).mean() - 0.0455) < 0.01  # the tails are the bell's, too
    assert noise.max() > 3 * 9 and noise.min() < -3 * 9
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.05


def test_saturation_weighs_the_channels_by_the_format():
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    image[..., 0] = 200  # blue in BGR, red in RGB
    greys = {}
    for name in ("BGR", "RGB"):
        cfg = _cfg(SATURATION=1.0)
        cfg.INPUT.FORMAT = name
        saturation = named_augmentations(cfg)["saturation"]
        saturation.intensity_min = saturation.intensity_max = 0.0
        greys[name] = int(saturation.get_transform(image).apply_image(image)[0, 0, 0])
    assert greys == {"BGR": round(0.114 * 200), "RGB": round(0.299 * 200)}


def test_other_channel_orders_are_refused():
    cfg = _cfg(HUE=5.0)
    cfg.INPUT.FORMAT = "L"
    with pytest.raises(ValueError, match="BGR or RGB, not L"):
        build_augmentations(cfg, is_train=True)


def test_a_vignette_darkens_the_far_corner_by_its_share_and_leaves_the_brightest_point():
    np.random.seed(0)
    flat = np.full((60, 80, 3), 200, np.uint8)
    dark = RandomVignette(0.4, 0.4).get_transform(flat).apply_image(flat)
    assert dark.max() == 200
    assert dark.min() == pytest.approx(200 * 0.6, abs=2)
    assert dark.min() == dark[[0, 0, -1, -1], [0, -1, 0, -1]].min()


def test_compression_takes_the_detail_that_shrinking_takes():
    np.random.seed(0)
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    broad = np.zeros((64, 64, 3), np.uint8)
    broad[:, :32] = 255
    blurred = RandomCompression(4.0, 4.0).get_transform(stripes).apply_image(stripes)
    kept = RandomCompression(4.0, 4.0).get_transform(broad).apply_image(broad)
    assert blurred.std() < 5 and kept.std() > 100
