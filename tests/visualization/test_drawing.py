import numpy as np
import pytest

from bccd.data.classes import CLASS_COLORS, CLASS_NAMES
from bccd.visualization.drawing import COLORS, CellVisualizer, count_classes, draw_detections

GREY = np.full((480, 640, 3), 128, dtype=np.uint8)
BOXES = np.array([[50, 60, 150, 160], [300, 100, 500, 300], [200, 400, 240, 430]])


def share_of_color(pixels, name):
    close = np.abs(pixels.astype(int) - CLASS_COLORS[name]).max(axis=-1) < 25
    return close.mean()


def edge(picture, box, scale=2):
    """Pixels of the middle half of the left edge of a box."""
    x0, y0, _, y1 = (np.asarray(box) * scale).astype(int)
    quarter = (y1 - y0) // 4
    return picture[y0 + quarter : y1 - quarter, x0]


def test_boxes_are_drawn_where_they_are_in_their_class_colors():
    picture = draw_detections(GREY, BOXES, [0, 1, 2])
    assert picture.dtype == np.uint8 and picture.shape[1] == 1280
    for box, name in zip(BOXES, CLASS_NAMES, strict=True):
        assert share_of_color(edge(picture, box), name) > 0.9
        for other in set(CLASS_NAMES) - {name}:
            assert share_of_color(edge(picture, box), other) == 0
    inside = picture[240:300, 120:280]
    assert (inside == 128).all()


def test_dashed_boxes_have_gaps():
    solid = draw_detections(GREY, BOXES[:1], [0], labels=False)
    dashed = draw_detections(GREY, BOXES[:1], [0], labels=False, dashed=[True])
    assert share_of_color(edge(solid, BOXES[0]), "RBC") == 1
    assert 0.3 < share_of_color(edge(dashed, BOXES[0]), "RBC") < 0.8


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


def texts(picture_arguments, counts=None, title=""):
    visualizer = CellVisualizer(np.pad(GREY, ((0, 40), (0, 0), (0, 0))), 2, (480, 640), 1.4)
    visualizer.draw_cells(*picture_arguments)
    if counts:
        visualizer.draw_legend(counts, title)
    return visualizer.output.ax.texts, visualizer


def test_labels_name_class_and_score_and_the_legend_counts():
    labels, _ = texts((BOXES, [0, 1, 2], [0.917, 0.5, 1.0]), count_classes([0, 1, 2]), "a.jpg")
    written = {text.get_text() for text in labels}
    assert {"RBC 92%", "WBC 50%", "Platelets 100%"} <= written
    assert {"RBC 1", "WBC 1", "Platelets 1", "total 3", "a.jpg"} <= written


def test_long_title_is_shortened_to_fit():
    labels, _ = texts((BOXES, [0, 1, 2]), count_classes([0, 1, 2]), "folder/" * 30 + "a.jpg")
    title = labels[-1].get_text()
    assert title.startswith("…") and title.endswith("/a.jpg")


def test_labels_of_overlapping_cells_stay_apart_and_inside():
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 500, (18, 2)) * (1, 0.75)
    boxes = np.concatenate((corners, corners + rng.uniform(40, 120, (18, 2))), axis=1)
    boxes[1] = boxes[0] + 1  # two detections of one cell
    labels, visualizer = texts((boxes, np.zeros(18, dtype=int), np.full(18, 0.5)))
    renderer = visualizer.output.canvas.get_renderer()
    extents = [text.get_window_extent(renderer) for text in labels]
    assert len(extents) == 18
    for i, a in enumerate(extents):
        assert a.x0 >= 0 and a.x1 <= 1280 and a.y1 <= 1040 and a.y0 >= 80
        assert not any(a.overlaps(b) for b in extents[:i])


def test_counts_and_colors():
    assert count_classes([0, 2, 0]) == {"RBC": 2, "WBC": 0, "Platelets": 1}
    assert count_classes([]) == {"RBC": 0, "WBC": 0, "Platelets": 0}
    assert [tuple(round(255 * c) for c in color) for color in COLORS] == [
        CLASS_COLORS[name] for name in CLASS_NAMES
    ]
