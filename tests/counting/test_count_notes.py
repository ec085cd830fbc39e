from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from fake_predictor import FakePredictor

from bccd.counting.count_notes import (
    border_notes,
    crowding_notes,
    grey_notes,
    is_grey,
    quality_notes,
    resolution_notes,
    scale_notes,
    size_notes,
    unlike_notes,
)
from bccd.counting.counter import CellCounter
from bccd.counting.field import ASSUMED, GIVEN, MEASURED, UNCERTAIN, Scale
from bccd.counting.image_quality import ImageQuality
from bccd.counting.predictor import Predictor
from bccd.experiments.spoiling import NOTES, SPOILINGS, kinds_of, note_table, spoiling_table

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


GOOD = {"edge_width": 0.05, "ground": 210, "burnt": 0.0, "covered": 0.5, "noise": 1.0}
GOOD |= {"tint": -0.1}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({}, None),
        ({"edge_width": 0.1}, "focus"),
        ({"burnt": 0.5}, "over-exposed"),
        ({"ground": 110}, "under-exposed"),
        ({"covered": 0.85}, "crowded"),
        ({"noise": 30.0}, "noise"),
        ({"tint": 0.2}, "colours"),
    ],
)
def test_the_quality_of_an_image_is_noted_in_plain_words(change, kind):
    good, bad = ImageQuality(**GOOD), ImageQuality(**GOOD | change)
    wanted = [kind] if kind else []
    assert kinds_of(quality_notes([bad])) == wanted
    assert kinds_of(quality_notes([good] * 8 + [bad] * 2)) == wanted
    assert not quality_notes([good] * 9 + [bad] * 2) and not quality_notes([good, good, bad])
    notes = quality_notes([good, bad, good, bad, good], "tiles")
    assert all(" in 2 of the 5 tiles" in note for note in notes)


def test_few_pixels_and_few_cells_are_noted():
    assert not resolution_notes((480, 640), 100, 68)
    assert kinds_of(resolution_notes((48, 64), 10, 68)) == ["coarse"]
    (note,) = resolution_notes((48, 64), 100, 68)
    assert note.startswith("too small: the image is 0.6 x 0.5 red cells wide")


def test_notes_on_the_cells_of_an_image():
    assert kinds_of(crowding_notes(24, 20.0)) == ["crowded"] and not crowding_notes(20, 24.0)
    assert not crowding_notes(2, 1.0)  # a crop of two cells says nothing
    assert kinds_of(unlike_notes(20, 12.0)) == ["unlike"] and not unlike_notes(20, 3.0)
    assert kinds_of(border_notes(10, 10)) == ["border"]
    assert not border_notes(20, 9) and not border_notes(3, 3)


def test_tables_of_notes_count_what_was_right():
    rows = [
        {"spoiling": "good", "wanted": None, "notes": [], "cells": 20},
        {"spoiling": "blur", "wanted": "focus", "notes": ["focus"], "cells": 15},
        {"spoiling": "dark", "wanted": "under-exposed", "notes": ["focus"], "cells": 0},
        {"spoiling": "other pictures", "wanted": "any", "notes": ["scale"], "cells": 1},
    ]
    rows = [{"laboratory": "a", "file": "1", **row} for row in rows]
    assert "| blur | 1 | 75% | focus | 100% | 100% |" in spoiling_table(rows)
    assert "| other pictures | 1 | 5% | any | 100% | 100% |" in spoiling_table(rows)
    assert "| focus | 100% | 50% | 0% |" in note_table(rows)
    assert "| under-exposed | 0% |  | 0% |" in note_table(rows)
    assert {wanted for _, wanted in SPOILINGS.values()} - {None, "any"} <= set(NOTES.values())
