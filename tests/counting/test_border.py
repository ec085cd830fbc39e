import numpy as np
import pytest
from fake_predictor import FakePredictor
from test_field import USUAL, DiscDetector, draw_field

from bccd.counting.border import keep_by_border
from bccd.counting.counter import CellCounter
from bccd.detections import Detections

BOXES = {
    "inside": (30, 30, 60, 60),
    "top": (30, 0, 60, 25),
    "left": (1, 30, 25, 60),
    "bottom": (30, 80, 60, 100),
    "right": (140, 30, 159.5, 60),
    "top and right": (140, 0, 160, 20),
    "left and bottom": (0, 80, 20, 100),
}


@pytest.mark.parametrize(
    ("border", "counted"),
    [
        ("all", list(BOXES)),
        ("half", ["inside", "top", "left"]),
        ("inside", ["inside"]),
    ],
)
def test_which_cells_count(border, counted):
    boxes = np.array(list(BOXES.values()), np.float32)
    found = Detections((100, 160), boxes, np.ones(len(boxes)), np.zeros(len(boxes), dtype=int))
    kept = keep_by_border(found, border, diameter=60)
    np.testing.assert_array_equal(kept.boxes, [BOXES[name] for name in counted])


@pytest.mark.parametrize(("y", "x"), [(209, 310), (190, 330)])  # through cells
def test_counts_of_neighbouring_fields_add_up(y, x):
    whole = np.pad(draw_field(4, 6, USUAL), [(20, 20), (20, 20), (0, 0)], constant_values=255)
    parts = [whole[:y, :x], whole[:y, x:], whole[y:, :x], whole[y:, x:]]
    half = CellCounter.of(DiscDetector(), 0.1, USUAL, "half")
    every = CellCounter.of(DiscDetector(), 0.1, USUAL)
    assert sum(half(part).counts["RBC"] for part in parts) == 24
    assert sum(every(part).counts["RBC"] for part in parts) > 24


def test_another_word_is_refused():
    with pytest.raises(ValueError, match="use one of all, half, inside"):
        CellCounter.of(FakePredictor(), border="none")
