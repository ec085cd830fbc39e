import cmath
import math

import cv2
import numpy as np
import pytest
from detectron2.data.detection_utils import read_image
from detectron2.utils.file_io import PathManager
from hypothesis import given, settings
from hypothesis import strategies as st

from bccd.data.synthetic import draw_smear, load_smears
from bccd.data.synthetic.layout import Cell, Outline, place_cells, visible_boxes
from bccd.data.synthetic.painting import paint


def test_a_seed_determines_the_smear_and_leaves_global_chance_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first, again, other = draw_smear(4, 60, 80), draw_smear(4, 60, 80), draw_smear(5, 60, 80)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert np.array_equal(np.random.get_state()[1], before)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), height=st.integers(16, 150), width=st.integers(16, 150))
def test_boxes_have_area_and_lie_in_the_image(seed, height, width):
    image, boxes, classes = draw_smear(seed, height, width)
    assert image.shape == (height, width, 3) and image.dtype == np.uint8
    assert boxes.shape == (len(classes), 4) and boxes.dtype == np.float32
    assert classes.dtype == np.int64 and np.isin(classes, (0, 1, 2)).all()
    assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


@pytest.mark.parametrize("center", [(-40, 30), (30, -40), (140, 30), (30, 140)])
def test_an_outline_beside_the_image_has_an_empty_window(center):
    window = Outline(center, (5, 5), 0.0, ()).window(60, 80)
    assert np.zeros((60, 80))[window].size == 0
    assert Outline(center, (5, 5), 0.0, ()).depth(window).size == 0


def test_an_image_too_small_is_an_error():
    with pytest.raises(ValueError, match="16x16"):
        draw_smear(0, 8, 100)


def _inside_naive(outline, x, y):
    """Whether a point is inside, in polar coordinates of the outline's ellipse."""
    point = complex(x - outline.center[0], y - outline.center[1]) * cmath.exp(-1j * outline.angle)
    point = complex(point.real / outline.radii[0], point.imag / outline.radii[1])
    turn = cmath.phase(point)
    edge = 1 + sum(
        abs(wave) * math.cos(k * turn + cmath.phase(wave))
        for k, wave in enumerate(outline.waves, 2)
    )
    return abs(point) < edge


@pytest.mark.parametrize("seed", range(4))
def test_boxes_are_tight_around_what_is_seen(seed):
    height, width = 60, 80
    cells = place_cells(np.random.default_rng(seed), height, width)
    hidden, expected = set(), []
    for cell in cells:
        pixels = {
            (x, y)
            for x in range(width)
            for y in range(height)
            if _inside_naive(cell.outline, x + 0.5, y + 0.5)
        } - hidden
        if cell.is_wbc:
            hidden |= pixels
        xs, ys = zip(*pixels, strict=True)
        expected.append([min(xs), min(ys), max(xs) + 1, max(ys) + 1])
    assert visible_boxes(cells, height, width)[0].tolist() == expected


def _circle(kind, x, y, radius):
    return Cell(kind, Outline((x, y), (radius, radius), 0.0, (0j, 0j, 0j)))


def test_a_white_cell_hides_a_red_cell_and_a_red_cell_hides_nothing():
    white, red = _circle("neutrophil", 40.0, 40.0, 20.0), _circle("RBC", 60.0, 40.0, 10.0)
    under = _circle("RBC", 40.0, 40.0, 10.0)
    boxes, classes = visible_boxes([white, red, under, _circle("RBC", 60.0, 40.0, 9.0)], 80, 100)
    assert classes.tolist() == [1, 0, 0]  # the second cell is hidden as a whole
    assert boxes[0].tolist() == [20, 20, 60, 60]
    assert 50 < boxes[1][0] < 60 and boxes[1][2] == 70
    assert boxes[2].tolist()[1:] == [31, 69, 49]


@pytest.mark.parametrize("kind", ["RBC", "neutrophil", "eosinophil", "lymphocyte", "monocyte"])
def test_the_box_is_where_the_image_shows_the_cell(kind):
    cell = _circle(kind, 130.0, 90.0, 60.0)
    image = paint(np.random.default_rng(3), [cell], 200, 260).astype(int)
    green = cv2.GaussianBlur(image[..., 1].astype(np.float32), (0, 0), 2)
    dark = (green < np.median(green) - 12).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark)
    x, y, w, h, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()]
    box, _ = visible_boxes([cell], 200, 260)
    assert np.abs(box[0] - [x, y, x + w, y + h]).max() <= 4


def test_counts_and_sizes_are_those_of_bccd():
    records = load_smears(150, seed=11)
    annotations = [annotation for record in records for annotation in record["annotations"]]
    classes = np.array([annotation["category_id"] for annotation in annotations])
    x0, y0, x1, y1 = np.array([annotation["bbox"] for annotation in annotations]).T
    side = np.sqrt((x1 - x0) * (y1 - y0))
    # class: cells per image and median side as annotated in BCCD's 364 images
    for category, (count, median) in enumerate([(11.4, 102), (1.02, 188), (0.99, 39.5)]):
        assert np.isclose((classes == category).sum() / len(records), count, rtol=0.2)
        assert np.isclose(np.median(side[classes == category]), median, rtol=0.1)


def test_records_hold_the_boxes_of_the_image_behind_their_uri(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    records = load_smears(3, seed=5, height=60, width=80)
    assert [record["image_id"] for record in records] == [0, 1, 2]
    for index, record in enumerate(records):
        image, boxes, classes = draw_smear((5, index), 60, 80)
        assert np.array_equal(read_image(record["file_name"], "BGR"), image)
        assert [a["bbox"] for a in record["annotations"]] == boxes.tolist()
        assert [a["category_id"] for a in record["annotations"]] == classes.tolist()
    assert load_smears(2, seed=5, height=60, width=80) == records[:2]


def test_images_are_drawn_once_into_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    (record,) = load_smears(1, seed=6, height=32, width=48)
    first = PathManager.get_local_path(record["file_name"])
    monkeypatch.setattr("bccd.data.synthetic.dataset.draw_smear", None)
    assert PathManager.get_local_path(record["file_name"]) == first
    assert PathManager.exists(record["file_name"])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [str(path) for path in files] == [first]


def test_an_unknown_uri_is_an_error():
    assert not PathManager.exists("smears://cells.png")
    with pytest.raises(FileNotFoundError, match="smears://480x640"):
        PathManager.get_local_path("smears://cells.png")
    with pytest.raises(ValueError, match="only be read"):
        PathManager.open("smears://480x640/seed0/00000.png", "wb")
