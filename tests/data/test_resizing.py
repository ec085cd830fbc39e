import numpy as np
import pytest
from detectron2.data import transforms as T
from hypothesis import given
from hypothesis import strategies as st

from bccd.data.images.resizing import resize, shortest_edge_size

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
