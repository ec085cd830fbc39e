"""Leave one laboratory out: what is trained on what, and the table."""

import json

import pytest

from bccd.experiments import laboratories
from bccd.experiments.laboratories import (
    LABORATORIES,
    evaluate_command,
    laboratories_table,
    read_evaluation,
    train_command,
    trainings,
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
    command = evaluate_command("ssd_lite", tmp_path / "trained", tmp_path / "out")
    tests = _value(command, "DATASETS.TEST")
    assert all(laboratory.test in tests for laboratory in LABORATORIES.values())
    assert _value(command, "MODEL.WEIGHTS") == str(tmp_path / "trained" / "model_best.pth")


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
    found = {name: {**values, "counts": counts} for name, values in found.items()}
    run = {"model": "ssd_lite", "training": "without_PBC", "laboratories": found}
    head, _, row = laboratories_table([run], ["RBC", "WBC"]).splitlines()
    assert len(head.split("|")) == len(row.split("|"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    assert cells == [
        *("`ssd_lite`", "PBC", "the others", "0.500 [0.400, 0.610]", "0.800", "0.600"),
        *("0.550", "-", "8 of 9", "1 of 1"),
    ]


def test_thresholds_come_from_laboratories_that_the_model_saw(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(laboratories, "load_predictor", lambda choice: None)
    monkeypatch.setattr(laboratories, "choose_on", lambda predictor, names: seen.extend(names))
    monkeypatch.setattr(laboratories.CellCounter, "of", lambda *args: None)
    monkeypatch.setattr(laboratories, "_count", lambda counter, dataset: dataset)
    counted = laboratories.count_tests(tmp_path, "without_Raabin")
    assert seen == [LABORATORIES["BCCD"].val, LABORATORIES["PBC"].val]
    assert counted["Raabin"] == LABORATORIES["Raabin"].test
    with pytest.raises(KeyError):
        trainings()["without_Nobody"]
