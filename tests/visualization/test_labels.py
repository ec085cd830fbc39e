import numpy as np
import pytest

from bccd.visualization.labels import place_labels

FIELD = (480, 640)


def shared_areas(places, sizes):
    """Area that each two labels share (P, P), 0 on the diagonal."""
    low = np.maximum(places[:, None], places)
    high = np.minimum((places + sizes)[:, None], places + sizes)
    areas = np.prod((high - low).clip(0), axis=2)
    np.fill_diagonal(areas, 0)
    return areas


@pytest.mark.parametrize("seed", range(5))
def test_labels_keep_apart_where_there_is_room(seed):
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(np.arange(8) * 80, np.arange(6) * 80), axis=-1).reshape(-1, 2)
    corners = grid + rng.uniform(0, 20, grid.shape)
    boxes = np.concatenate((corners, corners + rng.uniform(5, 90, corners.shape)), axis=1)
    sizes = np.tile([45, 12], (len(boxes), 1))
    places = place_labels(boxes, sizes, FIELD, gap=1)
    assert not shared_areas(places, sizes).any()
    assert (places >= 0).all() and (places + sizes <= FIELD[::-1]).all()


def test_each_label_covers_least_of_those_before_it():
    boxes = np.tile([[100.0, 100, 200, 200]], (12, 1))
    sizes = np.tile([40, 12], (12, 1))
    places = place_labels(boxes, sizes, FIELD, gap=1)
    areas = shared_areas(places, sizes)
    assert not areas[:8, :8].any()  # there are eight places
    assert areas.sum(axis=1).max() <= 2 * 40 * 12  # then each is taken twice before thrice


def test_large_cells_have_labels_inside_and_small_ones_beside_them():
    boxes = np.array([[100.0, 100, 200, 200], [300, 300, 320, 320]])
    inside, beside = place_labels(boxes, np.array([[40, 12], [40, 12]]), FIELD, gap=1)
    assert inside.tolist() == [101, 101]
    assert beside[1] + 12 < 300


@pytest.mark.parametrize("field", [(5, 5), (10, 3000)])
def test_a_label_larger_than_the_field_starts_inside_it(field):
    places = place_labels(np.array([[0.0, 0, 3, 3]]), np.array([[40, 12]]), field, gap=1)
    assert (places >= 0).all() and (places < max(field)).all()


def test_a_large_picture_is_noted_on_a_coarse_grid():
    boxes = np.tile([[1000.0, 1000, 3000, 3000]], (8, 1))
    sizes = np.tile([400, 120], (8, 1))
    places = place_labels(boxes, sizes, (6000, 8000), gap=10)
    assert not shared_areas(places, sizes).any()
