import numpy as np
import pytest
from detectron2.data import transforms as T
from hypothesis import given, settings
from hypothesis import strategies as st

from bccd.config import get_bccd_cfg
from bccd.data.transforms.augmentation import build_augmentations, named_augmentations
from bccd.data.transforms.geometry import RandomFlip, ResizeTransform, Rotate90Transform

HEIGHT, WIDTH = 36, 50


@pytest.fixture
def noisy():
    return np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _cfg(**keys):
    """Geometry off but for ``keys`` of cfg.INPUT; sizes are left as they are."""
    cfg = get_bccd_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN = (0,)
    cfg.INPUT.RANDOM_FLIP = "none"
    for key, value in keys.items():
        cfg.merge_from_list([f"INPUT.{key.replace('__', '.')}", value])
    return cfg


def _box_of(mask):
    """Bounding box of a mask's pixels, as a list; None if there are none."""
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else None


def _clipped(box, shape):
    height, width = shape
    x0, y0, x1, y1 = np.clip(box, 0, [width, height, width, height])
    return [x0, y0, x1, y1] if x1 > x0 and y1 > y0 else None


def _boxes():
    x = st.lists(st.integers(0, WIDTH), min_size=2, max_size=2, unique=True).map(sorted)
    y = st.lists(st.integers(0, HEIGHT), min_size=2, max_size=2, unique=True).map(sorted)
    return st.tuples(x, y).map(lambda xy: [xy[0][0], xy[1][0], xy[0][1], xy[1][1]])


EXACT = {
    "crop": {"CROP__ENABLED": True, "CROP__PROB": 1.0, "CROP__SIZE": [0.4, 0.4]},
    "rotation": {"ROTATE90": True},
    "horizontal flip": {"RANDOM_FLIP": "horizontal"},
    "vertical flip": {"RANDOM_FLIP": "vertical"},
}
EXACT["all"] = {key: value for keys in EXACT.values() for key, value in keys.items()}
EXACT["all"]["RANDOM_FLIP"] = "both"


@pytest.mark.parametrize("name", EXACT)
@settings(max_examples=40, deadline=None)
@given(box=_boxes(), seed=st.integers(0, 10**6))
def test_boxes_follow_the_pixels_exactly(name, box, seed):
    x0, y0, x1, y1 = box
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[y0:y1, x0:x1] = 255
    np.random.seed(seed)
    augmented = T.AugInput(image)
    transforms = T.AugmentationList(build_augmentations(_cfg(**EXACT[name]), True))(augmented)
    moved = transforms.apply_box(np.array([box], float))[0]
    assert _clipped(moved, augmented.image.shape[:2]) == _box_of(augmented.image[..., 0])


@pytest.mark.parametrize(
    "keys", [{"FIXED_SIZE": (90, 70)}, {"MIN_SIZE_TRAIN": (54,)}, {"MIN_SIZE_TRAIN": (30, 60)}]
)
@settings(max_examples=40, deadline=None)
@given(box=_boxes(), seed=st.integers(0, 10**6))
def test_boxes_follow_a_resize_to_a_pixel(keys, box, seed):
    x0, y0, x1, y1 = box
    mask = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    mask[y0:y1, x0:x1] = 255
    np.random.seed(seed)
    augmented = T.AugInput(mask, boxes=np.array([box], float))
    T.AugmentationList(build_augmentations(_cfg(**keys), True))(augmented)
    seen = _box_of(augmented.image[..., 0] > 127)
    if seen is not None:  # a line may be thinned away by a smaller size
        assert np.abs(augmented.boxes[0] - seen).max() <= 1


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_are_numpys_and_can_be_undone(turns):
    image = np.arange(HEIGHT * WIDTH * 3, dtype=np.int32).reshape(HEIGHT, WIDTH, 3)
    transform = Rotate90Transform(HEIGHT, WIDTH, turns)
    assert np.array_equal(transform.apply_image(image), np.rot90(image, turns))
    assert np.array_equal(transform.inverse().apply_image(transform.apply_image(image)), image)
    points = np.array([[0.0, 0.0], [3.5, 20.0], [WIDTH, HEIGHT]])
    back = transform.inverse().apply_coords(transform.apply_coords(points.copy()))
    assert np.array_equal(back, points)


@pytest.mark.parametrize(("direction", "axis"), [("vertical", 0), ("horizontal", 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_flips_are_numpys(direction, axis, channels, noisy):
    flip = RandomFlip(1.0, horizontal=axis == 1, vertical=axis == 0)
    image = noisy[4:, 7:, :channels]  # a view, as a crop is
    transform = flip.get_transform(image)
    assert np.array_equal(transform.apply_image(image), np.flip(image, axis))
    assert np.array_equal(transform.apply_image(image[..., 0]), np.flip(image[..., 0], axis))


@pytest.mark.parametrize("size", [(20, 31), (36, 50), (80, 90), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_is_pillows_to_a_rounding(size, channels, noisy):
    image = noisy[4:, 7:, :channels]
    arguments = (*image.shape[:2], *size)
    resized = ResizeTransform(*arguments).apply_image(image)
    expected = T.ResizeTransform(*arguments).apply_image(image)
    difference = np.abs(resized.astype(int) - expected)
    assert resized.shape == (*size, channels) and resized.dtype == np.uint8
    assert difference.max() <= 1 and difference.mean() < 0.03


@pytest.mark.parametrize("kind", ["mask", "float", "grey"])
def test_what_is_no_image_is_resized_as_detectron2_does(kind, noisy):
    arguments = (HEIGHT, WIDTH, 23, 41)
    ours, theirs = ResizeTransform(*arguments), T.ResizeTransform(*arguments)
    if kind == "mask":
        resized, expected = (t.apply_segmentation(noisy) for t in (ours, theirs))
    else:
        image = noisy[..., 0] if kind == "grey" else noisy.astype(np.float32)
        resized, expected = (t.apply_image(image) for t in (ours, theirs))
    assert np.array_equal(resized, expected)


def test_every_orientation_is_drawn():
    image = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH, 1)
    flips = T.AugmentationList(build_augmentations(_cfg(RANDOM_FLIP="both"), True))
    turns = T.AugmentationList(build_augmentations(_cfg(ROTATE90=True), True))
    np.random.seed(0)
    for augmentations in (flips, turns):
        seen = set()
        for _ in range(60):
            augmented = T.AugInput(image)
            augmentations(augmented)
            seen.add((augmented.image.shape, augmented.image.tobytes()))
        assert len(seen) == 4


def test_crop_is_applied_with_its_probability():
    cfg = _cfg(CROP__ENABLED=True, CROP__TYPE="absolute", CROP__SIZE=[10, 20], CROP__PROB=0.3)
    augmentations = T.AugmentationList(build_augmentations(cfg, True))
    np.random.seed(0)
    shapes = []
    for _ in range(300):
        augmented = T.AugInput(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        augmentations(augmented)
        shapes.append(augmented.image.shape[:2])
    assert set(shapes) == {(10, 20), (HEIGHT, WIDTH)}
    assert 0.2 < shapes.count((10, 20)) / len(shapes) < 0.4


def test_fixed_size_holds_after_crop_and_rotation_and_in_testing():
    cfg = _cfg(**EXACT["all"], FIXED_SIZE=(30, 44))
    for is_train in (True, False):
        augmentations = T.AugmentationList(build_augmentations(cfg, is_train))
        for seed in range(12):
            np.random.seed(seed)
            augmented = T.AugInput(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
            augmentations(augmented)
            assert augmented.image.shape[:2] == (30, 44)


@pytest.mark.parametrize(
    ("keys", "sizes"),
    [
        ({"FIXED_SIZE": (60, 40)}, {(30, 20)}),
        ({"MIN_SIZE_TRAIN": (72, 108)}, {(36, 50), (54, 75)}),
        ({"MIN_SIZE_TRAIN": (72,), "MAX_SIZE_TRAIN": 50}, {(18, 25)}),
    ],
)
def test_the_scale_multiplies_the_sizes_of_training_alone(keys, sizes):
    cfg = _cfg(**keys, MIN_SIZE_TEST=72)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)

    def seen(is_train, **scale):
        (resize,) = build_augmentations(cfg, is_train, **scale)
        return {resize(T.AugInput(image)).apply_image(image).shape[:2] for _ in range(20)}

    np.random.seed(0)
    assert seen(True, scale=0.5) == sizes
    assert seen(False, scale=0.5) == seen(False)


def test_testing_resizes_only():
    cfg = _cfg(**EXACT["all"], MIN_SIZE_TEST=72)
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    (resize,) = build_augmentations(cfg, is_train=False)
    assert resize(T.AugInput(image)).apply_image(image).shape == (72, 100, 3)


def test_a_scale_of_nothing_is_an_error():
    with pytest.raises(ValueError, match=r"INPUT\.LOW_RESOLUTION\.SCALE is 0"):
        build_augmentations(_cfg(), is_train=True, scale=0)


@pytest.mark.parametrize("keys", [{"RANDOM_FLIP": "diagonal"}, {"FIXED_SIZE": (300,)}])
def test_an_unknown_value_names_its_key(keys):
    (key,) = keys
    with pytest.raises(ValueError, match=f"INPUT.{key}"):
        build_augmentations(_cfg(**keys), is_train=True)


def test_named_augmentations_are_those_of_the_training():
    assert list(named_augmentations(_cfg())) == ["resize"]
    cfg = _cfg(
        **EXACT["all"], PHOTOMETRIC__ENABLED=True, PHOTOMETRIC__HUE=8.0, PHOTOMETRIC__NOISE_STD=5.0
    )
    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    named = named_augmentations(cfg)
    assert list(named) == [
        "random crop",
        "quarter turn",
        "horizontal flip",
        "vertical flip",
        "resize",
        "hue",
        "Gaussian noise",
    ]
    for name, augmentation in named.items():
        changed = augmentation(T.AugInput(image)).apply_image(image)
        assert np.array_equal(changed, image) == (name == "resize"), name
