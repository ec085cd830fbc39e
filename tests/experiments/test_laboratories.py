"""Leave one laboratory out: what is trained on what, and the table."""

import json

import numpy as np
import pytest
from fake_predictor import FakePredictor

from bccd.counting.counter import CellCounter
from bccd.counting.fit_intervals import MarkedField
from bccd.counting.intervals import CountIntervals
from bccd.detections import Detections
from bccd.experiments import laboratories
from bccd.experiments.laboratories import (
    LABORATORIES,
    SHIPPED,
    evaluate_command,
    is_trained,
    laboratories_table,
    read_evaluation,
    read_iterations,
    train_command,
    trainings,
    weights_of,
)


def _value(command, key):
    return command[command.index(key) + 1]


def test_a_training_without_a_laboratory_sees_none_of_its_images(tmp_path):
    for name, laboratory in LABORATORIES.items():
        without = " ".join(train_command("ssd_lite", f"without_{name}", tmp_path, 8))
        only = " ".join(train_command("ssd_lite", f"only_{name}", tmp_path, 8))
        assert laboratory.train not in without and laboratory.val not in without
        assert laboratory.train in only
        assert not any(
            other.train in only for other in LABORATORIES.values() if other != laboratory
        )
    assert len(trainings()) == 1 + 2 * len(LABORATORIES)


def test_every_model_is_evaluated_on_every_laboratory(tmp_path):
    weights = weights_of("ssd_lite", "all", tmp_path / "trained")
    command = evaluate_command("ssd_lite", weights, tmp_path / "out")
    tests = _value(command, "DATASETS.TEST")
    assert all(laboratory.test in tests for laboratory in LABORATORIES.values())
    assert _value(command, "MODEL.WEIGHTS") == str(tmp_path / "trained" / "model_best.pth")
    assert weights_of("ssd_lite", SHIPPED, tmp_path) == "bccd://ssd_lite_generalist"


def test_the_evaluation_of_each_laboratory_is_read_and_becomes_a_row(tmp_path):
    bbox = {"AP": 50.0, "AP50": 80.0, "AP75": 60.0, "AP-RBC": 55.0, "AP-WBC": None, "APm": 1.0}
    document = {
        "images": 3,
        "bbox": bbox,
        "intervals": {"bbox": {"AP": [40.0, 61.0], "AP-RBC": [None, None]}},
    }
    for laboratory in LABORATORIES.values():
        folder = tmp_path / "inference" / laboratory.test
        folder.mkdir(parents=True)
        (folder / "evaluation.json").write_text(json.dumps(document))
    found = read_evaluation(tmp_path)
    assert "APm" not in found["PBC"]["bbox"]
    counts = {"marked": {"RBC": 9, "WBC": 1}, "counted": {"RBC": 8, "WBC": 1}}
    counts["coverage"] = {"RBC": 2 / 3}
    found = {name: {**values, "counts": counts} for name, values in found.items()}
    run = {"model": "ssd_lite", "training": "without_PBC", "laboratories": found}
    head, _, row = laboratories_table([run], ["RBC", "WBC"]).splitlines()
    assert len(head.split("|")) == len(row.split("|"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells == [
        *("`ssd_lite`", "PBC", "the others", "0.500 [0.400, 0.610]", "0.800", "0.600"),
        *("0.550", "-", "8 of 9, 67%", "1 of 1"),
    ]


def test_thresholds_come_from_laboratories_that_the_model_saw(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(laboratories, "load_predictor", lambda choice: None)
    monkeypatch.setattr(laboratories, "choose_on", lambda predictor, names, _: seen.extend(names))
    monkeypatch.setattr(laboratories.CellCounter, "of", lambda *args: None)
    monkeypatch.setattr(laboratories, "_intervals", lambda counter, names: seen.extend(names))
    monkeypatch.setattr(laboratories, "mark_fields", lambda counter, dataset: dataset)
    monkeypatch.setattr(laboratories, "_count", lambda counter, intervals, dataset: dataset)
    counted = laboratories.count_tests("model.pth", "without_Raabin")
    assert seen == [LABORATORIES["BCCD"].val, LABORATORIES["PBC"].val] * 2
    assert counted["Raabin"] == LABORATORIES["Raabin"].test
    with pytest.raises(KeyError):
        trainings()["without_Nobody"]


def test_counts_and_the_coverage_of_their_intervals():
    box = np.array([[0.0, 0, 9, 9]], np.float32)
    sure = Detections((48, 64), box, np.float32([0.9]), np.array([0]))
    unsure = Detections((48, 64), box, np.float32([0.3]), np.array([1]))
    fields = [MarkedField(each, 1.0, box, np.array([k])) for k, each in enumerate((sure, unsure))]
    values = {key: [0.0, 0.0] for key in ("missed", "unforeseen", "too_few", "too_many")}
    values |= {"thresholds": [0.5] * 2, "slope": [9.0] * 2, "offset": [0.0] * 2, "width": [2.0] * 2}
    intervals = CountIntervals.of(values, ("RBC", "WBC"), "here")
    predictor = FakePredictor()
    predictor.class_names, predictor.class_colors = ("RBC", "WBC"), predictor.class_colors[:2]
    counter = CellCounter.of(predictor, 0.5)
    counts = laboratories._count(counter, intervals, fields)
    assert counts["marked"] == {"RBC": 1, "WBC": 1} and counts["counted"] == {"RBC": 1, "WBC": 0}
    assert counts["error"] == {"RBC": 0.0, "WBC": 0.5}
    assert counts["coverage"] == {"RBC": 1.0, "WBC": 0.5}
    assert laboratories._count(counter, None, fields)["coverage"] == {}


def test_a_training_that_was_run_elsewhere_says_how_long_it_was(tmp_path):
    (tmp_path / "config.yaml").write_text("SOLVER: {MAX_ITER: 800}")
    assert not is_trained(tmp_path)
    (tmp_path / "model_best.pth").touch()
    assert is_trained(tmp_path) and read_iterations(tmp_path) == 800
