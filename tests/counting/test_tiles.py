import numpy as np
import pytest

from bccd.counting.tiles import Tile, detect_in_tiles, join, plan_tiles
from bccd.detections import Detections

OVERLAP = 40


@pytest.mark.parametrize(
    ("height", "width", "largest"),
    [
        (100, 100, 10_000),
        (500, 700, 40_000),
        (90, 3000, 20_000),
        (3000, 90, 20_000),
        (81, 641, 9000),
    ],
)
def test_tiles_cover_the_image_and_overlap(height, width, largest):
    tiles = plan_tiles(height, width, largest, OVERLAP)
    seen = np.zeros((height, width), dtype=int)
    for left, top, right, bottom in tiles:
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert (right - left) * (bottom - top) <= largest
        seen[top:bottom, left:right] += 1
    assert seen.min() == 1
    # Every square of the overlap's size lies whole in some tile.
    for x in range(width - OVERLAP + 1):
        assert any(t.left <= x and x + OVERLAP <= t.right for t in tiles)
    for y in range(height - OVERLAP + 1):
        assert any(t.top <= y and y + OVERLAP <= t.bottom for t in tiles)


def test_an_image_that_fits_is_one_tile():
    assert plan_tiles(80, 125, 10_000, OVERLAP) == [Tile(0, 0, 125, 80)]


def test_tiles_that_would_be_all_overlap_are_refused():
    with pytest.raises(ValueError, match="too small for an overlap of 40"):
        plan_tiles(500, 500, 6000, OVERLAP)


def test_little_more_than_the_image_is_detected_in():
    tiles = plan_tiles(1280, 1707, 1_230_000, 172)
    pixels = sum((t.right - t.left) * (t.bottom - t.top) for t in tiles)
    assert pixels < 1.15 * 1280 * 1707


def draw_cells(rng, height, width, count):
    """An image whose cells are squares of their own grey value; their boxes and classes."""
    image, boxes = np.zeros((height, width, 3), np.uint8), []
    for value in range(1, count + 1):
        for _ in range(200):
            side = int(rng.integers(8, 36))
            x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
            if not image[y : y + side, x : x + side].any():
                image[y : y + side, x : x + side] = value
                boxes.append((value, x, y, x + side, y + side))
                break
    return image, boxes


def find_cells(image):
    """A detector that is never wrong, and sees no more than the part of a cell in the image."""
    values = [v for v in np.unique(image) if v]
    places = [np.nonzero(image[..., 0] == v) for v in values]
    boxes = [(x.min(), y.min(), x.max() + 1, y.max() + 1) for y, x in places]
    return Detections(
        image.shape[:2],
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([0.5 + v / 1000 for v in values], np.float32),
        np.array([v % 2 for v in values]),
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_cell_is_found_once_and_as_in_the_whole_image(seed):
    image, boxes = draw_cells(np.random.default_rng(seed), 300, 420, 90)
    tiles = plan_tiles(300, 420, 20_000, OVERLAP)
    assert len(tiles) > 8
    whole = find_cells(image)
    found = detect_in_tiles(
        lambda t: find_cells(image[t.top : t.bottom, t.left : t.right]), image.shape[:2], tiles
    )
    order = np.argsort(-whole.scores, kind="stable")
    assert len(found) == len(boxes)
    np.testing.assert_array_equal(found.boxes, whole.boxes[order])
    np.testing.assert_array_equal(found.scores, whole.scores[order])
    np.testing.assert_array_equal(found.classes, whole.classes[order])


def detections(*boxes, classes=None, scores=None):
    count = len(boxes)
    return Detections(
        (100, 160),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores or [0.9] * count, np.float32),
        np.array(classes or [0] * count, dtype=int),
    )


TILES = [Tile(0, 0, 100, 100), Tile(60, 0, 160, 100)]


def test_crowded_cells_of_one_tile_are_left_to_its_detector():
    crowded = detections((10, 10, 40, 40), (12, 12, 42, 42))
    assert len(join([crowded, detections()], TILES)) == 2


def test_cells_of_two_classes_are_not_joined():
    left, right = detections((70, 10, 90, 30)), detections((70, 10, 90, 30), classes=[1])
    assert len(join([left, right], TILES)) == 2


def test_the_box_that_an_edge_cuts_gives_way_to_the_whole_one():
    cut, whole = (80, 10, 100, 30), (80, 10, 112, 30)
    found = join([detections(cut, scores=[0.99]), detections(whole)], TILES)
    np.testing.assert_array_equal(found.boxes, [whole])


def test_a_cell_that_two_tiles_place_differently_is_counted_once():
    # Its centre lies left of the middle of the overlap for one tile, and right of it for the other.
    found = join([detections((66, 10, 92, 36)), detections((68, 10, 96, 36))], TILES)
    assert len(found) == 1


def test_a_cell_larger_than_the_overlap_is_not_lost():
    found = join([detections((50, 10, 100, 60)), detections((60, 10, 110, 60))], TILES)
    assert len(found) == 1


def test_nothing_found():
    assert len(join([detections(), detections()], TILES)) == 0
