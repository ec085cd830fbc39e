from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

from bccd.counting.count_notes import Limits, count_notes, is_grey
from bccd.counting.predictor import Predictor

ROOT = Path(__file__).parents[2]
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


def test_the_limits_of_a_predictor(cfg, tmp_path):
    cfg.merge_from_file(str(ROOT / "configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", str(tmp_path / "model.pth")
    cfg.MODEL.SparseRCNN.NUM_PROPOSALS, cfg.INPUT.FIELD_SIZE = 12, (600, 800)
    torch.save({"model": build_model(cfg).state_dict()}, cfg.MODEL.WEIGHTS)
    # TEST.DETECTIONS_PER_IMAGE is 60, which 12 proposals never reach.
    assert Limits.of(Predictor(cfg)) == Limits((600, 800), 12)
    cfg.INPUT.FIELD_SIZE = (600,)
    with pytest.raises(ValueError, match="FIELD_SIZE is"):
        Predictor(cfg)


def test_a_grey_image_is_noted():
    image = np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4, 1), 3, axis=2)
    assert is_grey(image)
    notes = count_notes((480, 640), [0.9], THRESHOLDS, Limits((480, 640)), grey=True)
    assert len(notes) == 1 and notes[0].startswith("a grey image")
    for channel in range(3):
        coloured = image.copy()
        coloured[1, 2, channel] += 1
        assert not is_grey(coloured)
