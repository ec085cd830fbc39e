from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from fake_predictor import FakePredictor

from bccd.counting.count_notes import grey_notes, is_grey, scale_notes, size_notes
from bccd.counting.counter import CellCounter
from bccd.counting.field import ASSUMED, GIVEN, MEASURED, UNCERTAIN, Scale
from bccd.counting.predictor import Predictor

ROOT = Path(__file__).parents[2]


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
    assert len(size_notes((height, width), (480, 640))) == noted
    assert size_notes((height, width), ()) == []


@pytest.mark.parametrize(
    ("limit", "lowest", "noted"),
    [
        (4, 0.2, True),  # a fifth might reach the threshold of platelets
        (4, 0.25, False),  # a fifth would be lower still
        (5, 0.2, False),
        (None, 0.2, False),
    ],
)
def test_a_full_list_of_detections(limit, lowest, noted):
    predictor = FakePredictor()
    predictor.max_detections = limit
    result = CellCounter.of(predictor, lowest)(np.zeros((60, 80, 3), np.uint8))
    assert any("the most that the detector gives" in note for note in result.notes) == noted


@pytest.mark.parametrize("source", [GIVEN, MEASURED, UNCERTAIN, ASSUMED])
def test_a_scale_that_is_not_certain_is_noted(source):
    notes = scale_notes(Scale(98.4, source))
    assert len(notes) == (source in (UNCERTAIN, ASSUMED))
    assert all("--red-cell-diameter" in note for note in notes)


def test_the_limits_of_a_predictor(cfg, tmp_path):
    cfg.merge_from_file(str(ROOT / "configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", str(tmp_path / "model.pth")
    cfg.MODEL.SparseRCNN.NUM_PROPOSALS, cfg.INPUT.FIELD_SIZE = 12, (600, 800)
    torch.save({"model": build_model(cfg).state_dict()}, cfg.MODEL.WEIGHTS)
    # TEST.DETECTIONS_PER_IMAGE is 60, which 12 proposals never reach.
    predictor = Predictor(cfg)
    assert (predictor.field_size, predictor.max_detections) == ((600, 800), 12)
    cfg.INPUT.FIELD_SIZE = (600,)
    with pytest.raises(ValueError, match="FIELD_SIZE is"):
        Predictor(cfg)


def test_a_grey_image_is_noted():
    image = np.repeat(np.arange(12, dtype=np.uint8).reshape(3, 4, 1), 3, axis=2)
    assert is_grey(image)
    notes = grey_notes(image)
    assert len(notes) == 1 and notes[0].startswith("a grey image")
    for channel in range(3):
        coloured = image.copy()
        coloured[1, 2, channel] += 1
        assert not is_grey(coloured) and not grey_notes(coloured)
