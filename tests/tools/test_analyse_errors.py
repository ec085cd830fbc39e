import gzip
import json
import runpy
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

TOOL = Path(__file__).resolve().parents[2] / "tools/analyse_errors.py"
SPLIT, SECOND = "bccd_errors_test", "bccd_relabelled_errors_test"


def run(*args):
    return runpy.run_path(str(TOOL))["main"]([str(arg) for arg in args])


def record(*boxes):
    box = {"bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "iscrowd": 0}
    annotations = [{**box, "bbox": list(b)} for b in boxes]
    size = {"height": 480, "width": 640}
    return {"file_name": "cells.jpg", "image_id": 5, **size, "annotations": annotations}


@pytest.fixture
def datasets():
    """One image with a labelled red cell, and a second one that only another annotator marked."""
    labelled, unlabelled = (0, 0, 100, 100), (300, 0, 400, 100)
    DatasetCatalog.register(SPLIT, lambda: [record(labelled)])
    DatasetCatalog.register(SECOND, lambda: [{**record(labelled, unlabelled), "image_id": 9}])
    for name in (SPLIT, SECOND):
        MetadataCatalog.get(name).thing_classes = ["RBC", "WBC", "Platelets"]
    yield
    for name in (SPLIT, SECOND):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.fixture
def results(tmp_path, datasets):
    """Both cells found."""
    detections = [
        {"image_id": 5, "category_id": 1, "bbox": [x, 0, 100, 100], "score": 0.9} for x in (0, 300)
    ]
    points = {name: {"threshold": 0.5} for name in ("RBC", "WBC", "Platelets")}
    (tmp_path / "operating_points.json").write_text(json.dumps({"iou": 0.5, "classes": points}))
    packed = gzip.compress(json.dumps(detections).encode())
    (tmp_path / "coco_instances_results.json.gz").write_bytes(packed)
    return tmp_path


def test_an_unlabelled_cell_is_told_from_a_wrong_detection(results, capsys):
    out = results / "new/errors"
    assert run("--results", results, "--dataset", SPLIT, "--output", out) == 0
    assert capsys.readouterr().out.split() == [str(out / f"errors.{x}") for x in ("json", "md")]
    content = json.loads((out / "errors.json").read_text())
    assert content["dataset"] == SPLIT
    answers = content["by_iou"]["0.75"]["second_annotation"]["RBC"]
    assert answers["background"] == {"confirmed": 1, "unconfirmed": 0}
    assert "1 of 1" in (out / "errors.md").read_text()


def test_a_data_set_without_a_second_annotation(results, capsys):
    DatasetCatalog.remove(SECOND)
    DatasetCatalog.register(SECOND, lambda: (_ for _ in ()).throw(FileNotFoundError("TXL-PBC")))
    assert run("--results", results, "--dataset", SPLIT, "--output", results) == 0
    assert "No second annotation" in capsys.readouterr().err
    content = json.loads((results / "errors.json").read_text())
    assert content["by_iou"]["0.5"]["second_annotation"] is None


def test_wrong_command_lines_are_one_clear_message(results, capsys):
    def message(folder, dataset):
        with pytest.raises(SystemExit) as stop:
            run("--results", folder, "--dataset", dataset, "--output", results)
        assert stop.value.code == 2
        return capsys.readouterr().err

    assert "no dataset nothing" in message(results, "nothing")
    assert "coco_instances_results.json is missing" in message(results / "no", SPLIT)
    file = results / "coco_instances_results.json"
    detection = {"image_id": 5, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 0.9}
    for change, error in (
        ({"category_id": 4}, "category_id 4; expected 1 to 3 for RBC, WBC, Platelets"),
        ({"score": None}, "image 5 without a score"),
        ({"bbox": None}, "image 5 without a score or a box"),
    ):
        file.write_text(json.dumps([{**detection, **change}]))
        assert error in message(results, SPLIT)
    file.unlink()
    points = (results / "operating_points.json").read_text()
    (results / "operating_points.json").write_text(points.replace("WBC", "Blast"))
    assert "expected RBC, Blast, Platelets, in any order" in message(results, SPLIT)
    (results / "operating_points.json").write_text(points)
    (results / "coco_instances_results.json.gz").write_bytes(b"not gzip")
    assert "coco_instances_results.json is damaged" in message(results, SPLIT)
