"""The labels that self-training adds."""

import json
import runpy

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog

from bccd.data.record_boxes import boxes_and_classes
from bccd.data.sources import catalog
from bccd.experiments.checkout import ROOT
from bccd.experiments.completed_labels import complete_labels, is_marked


def _record(name, image_id, *boxes):
    annotations = [
        {"bbox": list(box), "bbox_mode": 0, "category_id": 0, "iscrowd": 0} for box in boxes
    ]
    return {"file_name": name, "image_id": image_id, "annotations": annotations}


def test_a_detection_is_added_where_nobody_marked_a_cell():
    records = [_record("a.png", 1, (0, 0, 10, 10))]
    found = np.array([[0.0, 0, 12, 12], [30, 30, 40, 40]]), np.array([0, 2])
    completed = complete_labels(records, [], lambda file_name: found)
    boxes, classes = boxes_and_classes(completed.records[0])
    assert boxes.tolist() == [[0, 0, 10, 10], [30, 30, 40, 40]]
    assert classes.tolist() == [0, 2]
    assert (completed.second, completed.added, completed.agreement) == (0, {2: 1}, (0, 0))
    assert len(records[0]["annotations"]) == 1  # left unchanged


def test_a_second_annotation_replaces_the_first_and_judges_the_detections():
    records = [_record("a.png", 1, (0, 0, 10, 10))]
    second = [_record("a.png", 1, (0, 0, 10, 10), (30, 30, 40, 40))]
    found = np.array([[30.0, 30, 40, 40], [60, 60, 70, 70]]), np.array([0, 0])
    completed = complete_labels(records, second, lambda file_name: found)
    assert completed.records[0]["annotations"] == second[0]["annotations"]
    assert (completed.second, completed.added, completed.agreement) == (1, {}, (2, 1))


@pytest.mark.parametrize(
    ("box", "marked"),
    [
        ((0, 0, 10, 10), True),
        ((2, 2, 6, 6), True),  # a nucleus, in a box that takes in the plasma
        ((6, 0, 16, 10), False),  # 4 of 10 columns in common: a neighbour
    ],
)
def test_a_cell_is_marked_by_a_box_of_another_habit_too(box, marked):
    assert is_marked(np.array([box], float), np.array([[0.0, 0, 10, 10]])).tolist() == [marked]
    assert not is_marked(np.array([box], float), np.empty((0, 4))).any()


def test_the_tool_writes_the_data_set_that_its_name_then_loads(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    images = tmp_path / "BCCD" / "JPEGImages"
    images.mkdir(parents=True)
    cv2.imwrite(str(images / "BloodImage_00000.jpg"), np.full((48, 64, 3), 200, np.uint8))
    record = _record(str(images / "BloodImage_00000.jpg"), 1, (0, 0, 10, 10))
    record.update(height=48, width=64)
    tool = runpy.run_path(str(ROOT / "tools" / "complete_labels.py"))
    tool["main"].__globals__.update(
        load_records=lambda *args, **kwargs: [record], load_second_annotation=lambda *args: None
    )
    assert tool["main"](["--dataset", "bccd_paper_train", "--model", "ssd_lite"]) == 0
    path = catalog.completed_labels_path("bccd_paper_train")
    assert json.loads(path.read_text())["annotations"]
    assert str(path) in capsys.readouterr().out
    (loaded,) = DatasetCatalog.get("completed_bccd_paper_train")
    assert loaded["file_name"] == record["file_name"]


def test_a_data_set_that_was_not_completed_yet_says_how_to(tmp_path, monkeypatch):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    catalog.register_datasets()
    with pytest.raises(FileNotFoundError, match=r"complete_labels\.py --dataset bccd_voc_train"):
        DatasetCatalog.get("completed_bccd_voc_train")
