import numpy as np
import pytest
from detectron2.structures import BoxMode
from hypothesis import given, settings
from hypothesis import strategies as st

from bccd.data.transforms.mosaic import Mosaic

HEIGHT, WIDTH = 120, 160


def _part(value, shape=(HEIGHT, WIDTH), box=(20, 30, 120, 90)):
    """An image of ``value`` with a box 100 brighter, of class ``value``."""
    x0, y0, x1, y1 = box
    image = np.full((*shape, 3), value, np.uint8)
    image[y0:y1, x0:x1] += 100
    xywh = {"bbox": [x0, y0, x1 - x0, y1 - y0], "bbox_mode": BoxMode.XYWH_ABS}
    return image, [{**xywh, "category_id": value, "iscrowd": 0}]


@settings(max_examples=60, deadline=None)
@given(
    quarter=st.integers(0, 3),
    seed=st.integers(0, 10**6),
    scale=st.sampled_from([(0.7, 1.3), (0.4, 0.4), (2.0, 3.0)]),
)
def test_boxes_follow_the_pixels(quarter, seed, scale):
    parts = [(np.zeros((HEIGHT, WIDTH, 3), np.uint8), []) for _ in range(4)]
    parts[quarter] = _part(0)
    image, annotations = Mosaic(scale=scale, min_box_area=0.0)(parts, np.random.default_rng(seed))
    assert image.shape == (HEIGHT, WIDTH, 3) and image.dtype == np.uint8
    ys, xs = np.nonzero(image[..., 0] > 50)
    if not annotations:
        assert len(xs) == 0
    elif len(xs):  # a sliver may be blurred away
        (annotation,) = annotations
        assert annotation["bbox_mode"] == BoxMode.XYXY_ABS
        seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert np.abs(np.array(annotation["bbox"]) - seen).max() <= 1.5


def test_all_four_are_seen_and_meet_in_one_point():
    parts = [_part(value) for value in (1, 11, 21, 31)]
    image, _ = Mosaic()(parts, np.random.default_rng(0))
    part_of = np.rint((image[..., 0].astype(int) % 100 - 1) / 10)
    corners = part_of[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.tolist() == [0, 1, 2, 3]


def test_a_box_of_which_too_little_is_left_is_dropped():
    whole_image = (0, 0, WIDTH, HEIGHT)  # at most half of it fits into a quarter of the canvas
    parts = [_part(value, box=whole_image) for value in (1, 11, 21, 31)]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        _, annotations = Mosaic(scale=(1.0, 1.0), min_box_area=0.5)(parts, rng)
        assert annotations == []
        _, annotations = Mosaic(scale=(1.0, 1.0), min_box_area=0.0)(parts, rng)
        assert len(annotations) == 4


@pytest.mark.parametrize("shape", [(12, 16), (40, 400)])
def test_an_image_of_any_size_fills_its_quarter(shape):
    parts = [_part(1), *(_part(value, shape, box=(2, 3, 9, 11)) for value in (11, 21, 31))]
    image, annotations = Mosaic()(parts, np.random.default_rng(0))
    assert image.shape == (HEIGHT, WIDTH, 3)
    boxes = np.array([annotation["bbox"] for annotation in annotations])
    assert (boxes >= 0).all() and (boxes <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()


def test_images_without_boxes_make_one_without():
    parts = [(image, []) for image, _ in map(_part, (1, 11, 21, 31))]
    assert Mosaic()(parts, np.random.default_rng(0))[1] == []
