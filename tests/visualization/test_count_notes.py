import pytest

from bccd.visualization.count_notes import Limits, count_notes

THRESHOLDS = {"RBC": 0.3, "WBC": 0.6}


@pytest.mark.parametrize(
    ("height", "width", "noted"),
    [
        (480, 640, False),
        (640, 480, False),
        (360, 363, False),  # PBC
        (575, 575, False),  # Raabin
        (600, 800, False),
        (960, 1280, True),
        (2400, 3840, True),
        (480, 3000, True),
        (200, 240, True),
        (100, 640, True),
    ],
)
def test_sizes_that_a_detector_of_bccd_does_not_know(height, width, noted):
    notes = count_notes((height, width), [0.9], THRESHOLDS, Limits((480, 640), 100))
    assert len(notes) == noted
    assert count_notes((height, width), [0.9], THRESHOLDS, Limits((), None)) == []


@pytest.mark.parametrize(
    ("scores", "noted"),
    [
        ([0.9, 0.8, 0.3], True),  # a fourth might reach the threshold of red cells
        ([0.9, 0.8, 0.29], False),  # a fourth would be lower still
        ([0.9, 0.8], False),
        ([], False),
    ],
)
def test_a_full_list_of_detections(scores, noted):
    notes = count_notes((480, 640), scores, THRESHOLDS, Limits((480, 640), 3))
    assert len(notes) == noted
