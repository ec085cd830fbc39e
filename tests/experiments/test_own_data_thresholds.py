"""Scores from which a model of own data counts, and the file that needs no PyTorch."""

import logging

import numpy as np
import pytest
from fake_predictor import FakePredictor
from PIL import Image

from bccd.counting.counter import CellCounter
from bccd.detections import Detections
from bccd.experiments import counting_thresholds
from bccd.experiments.own_data import counting_thresholds as own
from bccd.experiments.own_data.counting_thresholds import choose_counting_thresholds
from bccd.export import publish
from bccd.export.magnification import Magnification
from bccd.export.save import DifferentModelError

POINTS = {"RBC": 0.9, "WBC": 0.6, "Platelets": 0.7}
SIDE, PER_ROW = 60, 6


class Grid(FakePredictor):
    """Finds 24 red cells on a grid in any image, with scores from 0.2 to 0.85, and a white one."""

    magnification = Magnification(0, SIDE, SIDE, 320 * 420, 9.0)

    def detection_limit(self, height, width):
        return 100

    def detect_resized(self, image):
        places = np.arange(25)
        corners = 68.0 * np.stack([places % PER_ROW, places // PER_ROW], axis=1)
        boxes = np.concatenate([corners, corners + SIDE], axis=1).astype(np.float32)
        scores = np.append(np.linspace(0.2, 0.85, 24), 0.65).astype(np.float32)
        return Detections(image.shape[:2], boxes, scores, np.append(np.zeros(24, int), 1))


@pytest.fixture
def fields(cfg, tmp_path, monkeypatch):
    """Function of the numbers of marked red cells in each field; sets DATASETS.VAL."""

    def mark(*numbers):
        records = []
        for i, number in enumerate(numbers):
            file = tmp_path / f"{i}.png"
            Image.new("RGB", (420, 320)).save(file)
            box = {"bbox": [0, 0, 9, 9], "bbox_mode": 0, "iscrowd": 0, "category_id": 0}
            records.append({"file_name": str(file), "annotations": [box] * number})
        monkeypatch.setattr(counting_thresholds, "load_records", lambda *_, **__: records)
        cfg.DATASETS.VAL = ("fields",)
        return records

    monkeypatch.setattr(own, "Predictor", lambda cfg: Grid(POINTS))
    return mark


def test_as_many_cells_count_as_are_marked_and_a_rare_class_keeps_its_score(fields, cfg, caplog):
    records = fields(20, 14)
    with caplog.at_level(logging.WARNING, logger="bccd"):
        scores = choose_counting_thresholds(cfg)
    assert scores[0] < POINTS["RBC"] and scores[1:] == (POINTS["WBC"], POINTS["Platelets"])
    assert "fewer than 10 cells of WBC, Platelets are marked" in caplog.text
    counter = CellCounter.of(Grid(POINTS), dict(zip(Grid.class_names, scores, strict=True)))
    counts = [counter(record["file_name"]).counts["RBC"] for record in records]
    assert sum(counts) == 20 + 14


def test_a_model_without_red_cells_counts_with_its_operating_points(fields, cfg, monkeypatch):
    fields(20)
    monkeypatch.setattr(Grid, "magnification", None)
    assert choose_counting_thresholds(cfg) == ()


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (None, "no exportable form"),
        (ImportError("onnx is not installed"), "onnx is not installed"),
        (DifferentModelError("a box is elsewhere"), "a box is elsewhere"),
    ],
)
def test_a_model_that_cannot_be_exported_is_published_without(
    tmp_path, monkeypatch, caplog, outcome, reason
):
    def write_export(*arguments, **options):
        if outcome:
            raise outcome

    monkeypatch.setattr(publish, "write_export", write_export)
    with caplog.at_level(logging.WARNING, logger="bccd"):
        assert publish._export(None, tmp_path / "mine.safetensors") is None
    assert "No .onnx file is published" in caplog.text and reason in caplog.text
