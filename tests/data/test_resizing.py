import numpy as np
import pytest
from detectron2.data import transforms as T
from hypothesis import given
from hypothesis import strategies as st

from bccd.data.images.resizing import resize, resize_part, shortest_edge_size

sides = st.integers(1, 3000)


@given(sides, sides, st.integers(1, 1000), st.integers(1, 2000))
def test_the_size_is_that_of_detectron2(height, width, min_size, max_size):
    expected = T.ResizeShortestEdge.get_output_shape(height, width, min_size, max_size)
    assert shortest_edge_size(height, width, min_size, max_size) == expected


def test_a_size_of_zero_leaves_images_as_they_are():
    assert shortest_edge_size(48, 64, 0, 10) == (48, 64)


@pytest.mark.parametrize("shape", [(48, 64), (97, 31), (320, 427), (5, 400)])
def test_the_pixels_are_those_of_detectron2(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for target in ((320, 427), (33, 47), shape):
        expected = T.ResizeTransform(*shape, *target).apply_image(image)
        np.testing.assert_array_equal(resize(image, target), expected)


@pytest.mark.parametrize("target", [(320, 427), (1000, 733), (60, 80), (90, 120)])
def test_a_part_is_that_of_the_resized_image(target):
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    whole, (height, width) = resize(image, target).astype(int), target
    for left, top, right, bottom in [
        (0, 0, width, height),
        (0, 0, 20, height),
        (width - 31, height - 17, width, height),
        (11, 7, width - 5, height - 3),
    ]:
        part = resize_part(image, target, (left, top, right, bottom))
        assert part.shape == (bottom - top, right - left, 3)
        assert np.abs(part - whole[top:bottom, left:right]).max() <= 1
