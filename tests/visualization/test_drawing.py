import subprocess
import sys
import tracemalloc
from functools import partial

import cv2
import numpy as np
import pytest

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.classes import class_colors
from bccd.visualization import drawing
from bccd.visualization.drawing import Sizes, count_classes, draw_cells
from bccd.visualization.text import text_mask

draw_detections = partial(drawing.draw_detections, class_names=CLASS_NAMES)
COLORS = dict(zip(CLASS_NAMES, class_colors(CLASS_NAMES), strict=True))
GREY = np.full((480, 640, 3), 128, dtype=np.uint8)
BOXES = np.array([[50, 60, 150, 160], [300, 100, 500, 300], [200, 400, 240, 430]])
UNIT = 2  # pixels of the picture for one of a 640x480 field


def share_of_color(pixels, name):
    close = np.abs(pixels.astype(int) - COLORS[name]).max(axis=-1) < 25
    return close.mean()


def edge(picture, box, scale=2):
    """Pixels of the middle half of the left edge of a box."""
    x0, y0, _, y1 = (np.asarray(box) * scale).astype(int)
    quarter = (y1 - y0) // 4
    return picture[y0 + quarter : y1 - quarter, x0]


def shows(picture, text, size):
    """Whether a text is written somewhere, by correlation with its mask."""
    found = cv2.matchTemplate(picture[:, :, 0], text_mask(text, size), cv2.TM_CCOEFF_NORMED)
    return np.abs(found).max() > 0.99


@pytest.fixture
def drawn_labels(monkeypatch):
    """Corners (x0, y0, x1, y1) of the grounds of the labels that are drawn."""
    extents, draw_label = [], drawing.draw_label

    def note(picture, x, y, mask, color, pad):
        height, width = mask.shape
        extents.append((x, y, x + width + 2 * pad, y + height + 2 * pad))
        draw_label(picture, x, y, mask, color, pad)

    monkeypatch.setattr(drawing, "draw_label", note)
    return extents


def shared_area(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(width, 0) * max(height, 0)


def test_boxes_are_drawn_where_they_are_in_their_class_colors():
    picture = draw_detections(GREY, BOXES, [0, 1, 2])
    assert picture.dtype == np.uint8 and picture.shape[1] == 1280
    for box, name in zip(BOXES, CLASS_NAMES, strict=True):
        assert share_of_color(edge(picture, box), name) > 0.9
        for other in set(CLASS_NAMES) - {name}:
            assert share_of_color(edge(picture, box), other) == 0
    inside = picture[240:300, 120:280]
    assert (inside == 128).all()


@pytest.mark.parametrize(("name", "brightness"), [("RBC", 255), ("WBC", 255), ("Platelets", 0)])
def test_a_line_has_a_rim_of_the_other_brightness(name, brightness):
    box = BOXES[:1]
    picture = draw_detections(GREY, box, [CLASS_NAMES.index(name)], labels=False)
    row, x = picture[200], 2 * box[0, 0]
    assert np.abs(row[[x - 2, x + 2]].astype(int) - brightness).max() < 10
    assert (row[[x - 3, x + 3]] == 128).all()


def test_dashed_boxes_have_gaps():
    solid = draw_detections(GREY, BOXES[:1], [0], labels=False)
    dashed = draw_detections(GREY, BOXES[:1], [0], labels=False, dashed=[True])
    assert share_of_color(edge(solid, BOXES[0]), "RBC") == 1
    assert 0.3 < share_of_color(edge(dashed, BOXES[0]), "RBC") < 0.8


def test_small_boxes_lie_over_large_ones():
    around, small = [100, 100, 400, 400], [100, 200, 140, 240]
    picture = draw_detections(GREY, [small, around], [1, 0], labels=False)
    assert share_of_color(edge(picture, small), "WBC") == 1


@pytest.mark.parametrize("shape", [(480, 640), (363, 360), (1200, 1600), (33, 47)])
def test_legend_is_a_strip_that_hides_nothing(shape):
    height, width = shape
    image = np.full((height, width, 3), 128, dtype=np.uint8)
    picture = draw_detections(image, np.zeros((0, 4)), [], title="a.jpg")
    scale = picture.shape[1] // width
    assert picture.shape[1] == scale * width >= min(1200, 1200 * width / height) - scale
    field, strip = picture[: scale * height], picture[scale * height :]
    assert (field == 128).all()
    assert 0.04 < len(strip) / max(picture.shape) < 0.08
    for name in CLASS_NAMES:
        assert share_of_color(strip, name) > 0.002
    assert (strip == 255).all(axis=-1).mean() > 0.5
    assert draw_detections(image, [], [], legend=False).shape[0] == scale * height


def test_labels_name_class_and_score_and_the_legend_counts():
    picture = draw_detections(GREY, BOXES, [0, 1, 2], [0.917, 0.5, 1.0], title="a.jpg")
    for text in ("RBC 92%", "WBC 50%", "Platelets 100%"):
        assert shows(picture[:960], text, 8.2 * UNIT)
    assert not shows(picture[:960], "RBC 93%", 8.2 * UNIT)
    for text in ("RBC 1", "WBC 1", "Platelets 1", "total 3", "a.jpg"):
        assert shows(picture[960:], text, 13 * UNIT)


def test_own_classes_have_their_names_and_colors():
    own = {"class_names": ("ring", "schizont"), "colors": ((255, 0, 0), (0, 0, 255))}
    picture = draw_detections(GREY, BOXES[:2], [1, 1], **own)
    assert (edge(picture, BOXES[0])[:, 2] > 200).all()
    for text in ("ring 0", "schizont 2", "total 2"):
        assert shows(picture[960:], text, 13 * UNIT)


def test_a_narrow_picture_shows_every_count():
    image = np.full((600, 200, 3), 128, dtype=np.uint8)
    strip = draw_detections(image, [[10, 10, 50, 50]] * 40, [0] * 40)[1200:]
    assert share_of_color(strip, "Platelets") > 0.002
    assert (strip[:, -4:] == 255).all() and (strip[:, 200:] < 128).any()


def test_labels_of_overlapping_cells_stay_apart_and_inside(drawn_labels):
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 500, (18, 2)) * (1, 0.75)
    boxes = np.concatenate((corners, corners + rng.uniform(40, 120, (18, 2))), axis=1)
    boxes[1] = boxes[0] + 1  # two detections of one cell
    draw_detections(GREY, boxes, np.zeros(18, dtype=int), np.full(18, 0.5))
    assert len(drawn_labels) == 18
    for i, (x0, y0, x1, y1) in enumerate(drawn_labels):
        assert 0 <= x0 < x1 <= 1280 and 0 <= y0 < y1 <= 960
        assert not any(shared_area(drawn_labels[i], other) for other in drawn_labels[:i])


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([100, 100, 100, 100], id="point"),
        pytest.param([100, 100, 300, 100], id="line"),
        pytest.param([-50, -50, 1e6, 1e6], id="larger"),
        pytest.param([700, 500, 800, 600], id="outside"),
        pytest.param([300, 300, 200, 200], id="reversed"),
    ],
)
@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (1, 900)])
def test_any_finite_box_is_drawn_inside_and_counted(shape, box):
    image = np.full((*shape, 3), 128, dtype=np.uint8)
    picture = draw_detections(image, [box], [0], [0.5], dashed=[True])
    assert share_of_color(picture[: len(image) * picture.shape[1] // shape[1]], "RBC") > 0
    solid = draw_detections(image, [box], [0], labels=False, legend=False)
    assert share_of_color(solid, "RBC") > 0
    assert not (picture == 128).all(axis=-1)[-5:].any()  # the strip


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(np.zeros((9, 9), np.uint8), id="grey"),
        pytest.param(np.zeros((9, 9, 1), np.uint8), id="one channel"),
        pytest.param(np.zeros((9, 9, 4), np.uint8), id="alpha"),
        pytest.param(np.zeros((9, 9, 3)), id="float"),
        pytest.param(np.zeros((0, 9, 3), np.uint8), id="empty"),
    ],
)
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match="must be a uint8 array"):
        draw_detections(image, [], [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[0, 0, np.nan, 1]], [0]), "not finite"),
        (([[0, 0, 1, 1]], [0, 1]), "equally many"),
        (([[0, 0, 1, 1]], [0], [0.5, 0.5]), "equally many"),
        (([[0, 0, 1, 1]], [3]), "do not fit the names"),
        (([[0, 0, 1, 1]], [-1]), "do not fit the names"),
    ],
)
def test_detections_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_detections(GREY, *arguments)


def test_the_image_is_not_changed_whatever_its_memory_looks_like():
    bgr = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    before = bgr.copy()
    rgb = draw_detections(bgr[:, :, ::-1], [], [], long_side=1, legend=False)
    assert (rgb == before[:, :, ::-1]).all()
    draw_detections(bgr, [[5, 5, 30, 20]], [0], long_side=1)
    assert (bgr == before).all()


def test_a_huge_image_takes_little_more_memory_than_its_picture():
    image = np.full((6000, 8000, 3), 128, dtype=np.uint8)
    corners = np.random.default_rng(0).uniform(0, 5500, (50, 2))
    boxes = np.concatenate((corners, corners + 300), axis=1)
    tracemalloc.start()
    try:
        picture = draw_detections(image[:, :, ::-1], boxes, np.zeros(50, int), np.full(50, 0.5))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert picture.shape == (6440, 8000, 3)
    assert peak < 2.1 * picture.nbytes


def test_cells_are_drawn_where_one_points_to():
    picture = np.zeros((100, 100, 3), np.uint8)
    draw_cells(picture, [[20, 20, 60, 60]], [(0, 255, 0)])
    assert picture[40, 20, 1] > 200 and not picture[40, 40].any()


def test_counts_of_classes():
    assert count_classes([0, 2, 0], CLASS_NAMES) == {"RBC": 2, "WBC": 0, "Platelets": 1}
    assert count_classes([], CLASS_NAMES) == {"RBC": 0, "WBC": 0, "Platelets": 0}


def test_drawing_needs_neither_pytorch_nor_detectron2_nor_matplotlib():
    code = (
        "import sys, bccd.visualization.drawing, bccd.visualization.png; "
        "print({'torch', 'detectron2', 'matplotlib', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_lines_and_labels_are_as_small_as_the_cells_of_a_large_field():
    field = np.full((960, 1280, 3), 200, np.uint8)
    usual, small = Sizes.of(field), Sizes.of(field, cell_diameter=100)
    assert small.text == pytest.approx(usual.text / 2) and small.line < usual.line
    assert Sizes.of(field, cell_diameter=190) == usual  # one field, magnified


def test_labels_that_cannot_be_read_are_left_out():
    field, box = np.full((960, 1280, 3), 200, np.uint8), np.array([[600, 400, 640, 440]])
    drawn = {
        labels: draw_detections(field, box, [0], labels=labels, cell_diameter=40)
        for labels in (True, False)
    }
    np.testing.assert_array_equal(drawn[True], drawn[False])
