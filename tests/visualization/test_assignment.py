import numpy as np

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.visualization.assignment import Places, assignment_figure
from bccd.visualization.style import figure_colors, save_for_page

BOXES = np.array([[10.0, 10, 50, 50], [60, 20, 100, 80]])


def draw(**more):
    places = Places(
        groups=[("stride 8", 48), ("stride 16", 12)],
        group=np.array([0, 0, 1]),
        points=np.array([[28.0, 28], [28, 28], [88, 56]]),
        cells=np.array([0, 0, 1]),
        **more,
    )
    image = np.zeros((90, 120, 3), np.uint8)
    return assignment_figure(image, BOXES, np.array([1, 2]), places, class_names=CLASS_NAMES)


def test_places_have_the_colour_of_their_cell_and_grow_with_the_anchors():
    figure = draw()
    axis, colors = figure.axes[0], figure_colors(CLASS_NAMES)
    markers = [line for line in axis.lines if line.get_marker() in ("o", "s")]
    two, one = markers
    assert (two.get_marker(), two.get_color()) == ("o", colors["WBC"])
    assert (one.get_marker(), one.get_color()) == ("s", colors["Platelets"])
    assert one.get_xydata().tolist() == [[88, 56]]
    assert two.get_markersize() > one.get_markersize()
    lines = [line.get_xydata().tolist() for line in axis.lines]
    assert [[88, 56], [80, 50]] in lines  # to the centre of the cell
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["stride 8: 2 of 48", "stride 16: 1 of 12", *CLASS_NAMES]


def test_what_places_predict_and_idle_places_are_shown_where_they_are_told():
    figure = draw(boxes=np.ones((3, 4)), idle=np.array([[5.0, 6]]))
    assert len(figure.axes[0].patches) == 2 + 3
    assert [[5, 6]] in [line.get_xydata().tolist() for line in figure.axes[0].lines]
    assert "of no cell" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_page_gets_a_small_file(tmp_path):
    path = save_for_page(draw(), tmp_path / "new" / "a.png")
    assert 1000 < path.stat().st_size < 150_000
