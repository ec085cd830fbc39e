"""``bccd calibrate``: from corrected fields to a model that ``bccd count`` takes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from bccd import CellCounter, cli, console
from bccd.counting.load import ModelChoice
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.formats.coco import to_coco
from bccd.data.synthetic import draw_smear, load_smears
from bccd.engine.checkpoint import read_checkpoint
from bccd.engine.trainer import BCCDTrainer
from bccd.experiments.calibration import fine_tuning
from bccd.experiments.calibration.choice import Chosen
from bccd.export import shipped
from bccd.export.runtime import ExportedPredictor

SIZE = (480, 640)  # as in the training, so that one look at an image is enough
ONNX = ("--runtime", "onnx", "--model", "ssd_lite")
TINY = [
    *("SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0", "INPUT.MIN_SIZE_TRAIN", "(64,)"),
    *("MODEL.DEVICE", "cpu"),
]


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Folder of six smears in ``smears``, and of a run of ``bccd count`` over them in ``run``."""
    folder = tmp_path_factory.mktemp("laboratory")
    (folder / "smears").mkdir()
    for seed in range(6):
        cv2.imwrite(str(folder / f"smears/{seed}.png"), draw_smear(seed, *SIZE)[0])
    assert count(folder / "smears", folder / "run", *ONNX) == console.DONE
    return folder


def count(images, output, *options):
    return cli.main(["count", str(images), "-o", str(output), *map(str, options)])


def calibrate(data, output, *options):
    words = ["calibrate", data, "-o", output, "--json", *options]
    return cli.main([str(word) for word in words])


def printed(capfd):
    return json.loads(capfd.readouterr().out)


def correct(folder, change, name="corrected.json"):
    """A copy of the run's detections.json beside it, in which ``change`` has corrected a field."""
    content = json.loads((folder / "run/detections.json").read_text())
    for image in content["images"]:
        boxes = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        others = [a for a in content["annotations"] if a["image_id"] != image["id"]]
        content["annotations"] = others + change(image, boxes)
    path = folder / "run" / name
    path.write_text(json.dumps(content))
    return path


def without_red_cells(image, boxes):
    """Three red cells of each field are false, but for the sixth, which nobody has corrected."""
    red = [box for box in boxes if box["category_id"] == 1]
    return [box for box in boxes if box not in red[-3:]] if image["id"] < 6 else boxes


def test_a_corrected_run_gives_a_model_that_counts_right(counted, tmp_path, capfd):
    data, model = correct(counted, without_red_cells), tmp_path / "my lab"
    assert calibrate(data, model, *ONNX) == console.DONE
    found = printed(capfd)
    calibration = found["card"]["calibration"]
    assert calibration["fields"] == 5 and calibration["unchanged"] == 1
    red = calibration["errors"]["RBC"]
    assert red["before"]["error"] == 3 and red["after"]["error"] < 3
    assert red["change"]["error"] < 0
    threshold = calibration["thresholds"]["RBC"]
    assert threshold["after"] > threshold["before"]
    white = calibration["thresholds"]["WBC"]
    assert white["after"] == white["before"]
    page = (model / "my lab.md").read_text()
    assert "are not used: 1. If they were looked at" in page and "cannot be trained" in page

    counter = CellCounter(str(model), runtime="onnx")
    assert counter.thresholds["RBC"] == threshold["after"]
    assert count(counted / "smears", tmp_path / "again", "--model", model, "--runtime", "onnx") == 0
    capfd.readouterr()
    assert calibrate(data, model, *ONNX) == console.DONE  # nothing is done again
    assert printed(capfd) == found
    assert calibrate(data, model, *ONNX, "--all-fields") == console.REFUSED
    assert "was started with all_fields False, now True" in capfd.readouterr().err


def test_an_uncorrected_run_is_refused(counted, tmp_path, capfd):
    assert calibrate(counted / "run", tmp_path / "lab", *ONNX) == console.REFUSED
    message = capfd.readouterr().err
    assert "no different corrected fields; 6 others have exactly the cells" in message
    assert not (tmp_path / "lab").exists()


def test_fields_that_were_looked_at_and_are_right_change_nothing(counted, tmp_path, capfd):
    model = tmp_path / "lab"
    assert calibrate(counted / "run", model, *ONNX, "--all-fields") == console.DONE
    calibration = printed(capfd)["card"]["calibration"]
    assert calibration["fields"] == 6
    assert all(score["before"] == score["after"] for score in calibration["thresholds"].values())
    assert "No threshold is changed" in (model / "lab.md").read_text()
    assert CellCounter(str(model), runtime="onnx").thresholds == CellCounter("ssd_lite").thresholds


def test_the_diameter_of_the_laboratory_is_kept_and_used(tmp_path, capfd):
    records, model = [], tmp_path / "lab"
    for seed in range(3):
        smear = cv2.resize(draw_smear(seed, *SIZE)[0], None, fx=0.5, fy=0.5)
        cv2.imwrite(str(tmp_path / f"{seed}.png"), smear)
        record = load_smears(1, seed, *SIZE)[0]
        for cell in record["annotations"]:
            cell["bbox"] = [value / 2 for value in cell["bbox"]]
        about = {"file_name": f"{seed}.png", "image_id": seed, "height": 240, "width": 320}
        records.append(record | about)
    (tmp_path / "cells.json").write_text(json.dumps(to_coco(records, CLASS_NAMES)))
    assert calibrate(tmp_path / "cells.json", model, *ONNX) == console.DONE
    expected = printed(capfd)["card"]["calibration"]["expected_diameter"]["expected"]
    assert 40 < expected < 62  # half of what the images of the training show
    predictor = ExportedPredictor("onnx", model / "lab.onnx")
    looks = []
    detect = predictor.detect_resized
    predictor.detect_resized = lambda image: looks.append(image.shape) or detect(image)
    image = cv2.imread(str(tmp_path / "0.png"))
    assert CellCounter.of(predictor)(image, channel_order="BGR").scale.source == "measured"
    assert len(looks) == 1  # the shipped model looks twice or more
    blank = CellCounter.of(predictor)(np.full((120, 160, 3), 225, np.uint8))
    assert blank.scale == (expected, "assumed") and len(blank.notes) >= 1


def test_images_are_found_where_they_were_counted(counted, tmp_path, capfd):
    info = json.loads((counted / "run/detections.json").read_text())["info"]
    assert info["images_folder"] == "../smears"
    content = json.loads(correct(counted, without_red_cells).read_text())
    del content["info"]
    alone = tmp_path / "from_cvat.json"
    alone.write_text(json.dumps(content))
    assert calibrate(alone, tmp_path / "lab", *ONNX) == console.REFUSED
    assert "is missing" in (message := capfd.readouterr().err) and "--images" in message
    options = (*ONNX, "--images", counted / "smears")
    assert calibrate(alone, tmp_path / "lab", *options) == console.DONE
    beside = counted / "run/without.json"  # here lie the pictures that the run drew
    beside.write_text(json.dumps(content))
    assert calibrate(beside, tmp_path / "other", *ONNX) == console.REFUSED


def renamed(folder, names, name):
    path = correct(folder, without_red_cells, name)
    content = json.loads(path.read_text())
    for category, new in zip(content["categories"], names, strict=True):
        category["name"] = new
    path.write_text(json.dumps(content))
    return path


def test_other_classes_are_refused_with_both_lists(counted, tmp_path, capfd):
    data = renamed(counted, ("RBC", "Lymphocyte", "Platelets"), "other.json")
    assert calibrate(data, tmp_path / "lab", *ONNX) == console.REFUSED
    message = capfd.readouterr().err
    assert "RBC, Lymphocyte, Platelets; the model has RBC, WBC, Platelets" in message


def test_fields_with_regions_of_several_cells_are_left_out(counted, tmp_path, capfd):
    def with_crowd(image, boxes):
        boxes = without_red_cells(image, boxes)
        return [{**boxes[0], "iscrowd": 1}, *boxes[1:]] if image["id"] == 1 else boxes

    data = correct(counted, with_crowd, "crowd.json")
    assert calibrate(data, tmp_path / "lab", *ONNX) == console.DONE
    calibration = printed(capfd)["card"]["calibration"]
    assert calibration["fields"] == 4 and "0.png: 1 regions" in calibration["left_out"][0]
    assert "4 fields are few" in (tmp_path / "lab/lab.md").read_text()


def test_a_package_that_is_compiled_is_refused(counted, tmp_path, capfd):
    (tmp_path / "model.pt2").touch()
    options = ("--model", tmp_path / "model.pt2")
    assert calibrate(counted / "run", tmp_path / "lab", *options) == console.REFUSED
    assert "calibrate the checkpoint or its .onnx" in capfd.readouterr().err
    assert calibrate(counted / "run", tmp_path / "lab", "--iterations", "0") == console.REFUSED


@pytest.fixture
def better(monkeypatch):
    """Lets a fine-tuning look better, whatever it is."""
    values = iter((10.0, 20.0) * 2)

    def average_precision(*args):
        return dict.fromkeys(("AP", "AP50"), next(values))

    monkeypatch.setattr(fine_tuning, "average_precision", average_precision)
    monkeypatch.setattr(Chosen, "error", lambda *args: 0.0)


def test_a_fine_tuning_goes_on_after_an_interruption(counted, tmp_path, monkeypatch, capfd, better):
    step, steps = BCCDTrainer.run_step, []

    def interrupted(trainer):
        steps.append(Path(trainer.cfg.OUTPUT_DIR).parent.name)
        if len(steps) == 2:
            raise KeyboardInterrupt
        step(trainer)

    monkeypatch.setattr(BCCDTrainer, "run_step", interrupted)
    monkeypatch.setattr(shipped, "write_export", lambda *args, **options: None)  # takes long
    model = tmp_path / "lab"
    options = ("--all-fields", "--iterations", "1", "--opts", *TINY)
    assert calibrate(counted / "run", model, *options) == console.INTERRUPTED
    capfd.readouterr()
    assert calibrate(counted / "run", model, *options) == console.DONE
    assert steps == ["fold-1", "fold-2", "fold-2", "fold-3", "all"]
    found = printed(capfd)["card"]["calibration"]["fine_tuning"]
    assert found["kept"] and found["AP"] == {"before": 10.0, "after": 20.0}
    assert not (model / "calibration/fine_tuning").exists()
    files = sorted(path.name for path in model.iterdir() if path.is_file())
    assert files == ["config.yaml", "lab.json", "lab.md", "lab.safetensors"]
    before, after = read_checkpoint("bccd://ssd_lite"), read_checkpoint(model / "lab.safetensors")
    assert any((after["model"][key] != value).any() for key, value in before["model"].items())
    assert CellCounter(str(model))(str(counted / "smears/0.png")).ok


def test_a_folder_without_one_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no models \(.safetensors\)"):
        ModelChoice(model=str(tmp_path))
    for name in ("a", "b"):
        (tmp_path / f"{name}.onnx").touch()
    with pytest.raises(FileNotFoundError, match="has 2 models"):
        ModelChoice(model=str(tmp_path), runtime="onnx")
    (tmp_path / "b.safetensors").touch()
    assert ModelChoice(model=f"{tmp_path}/").model == str(tmp_path / "b.safetensors")


def test_folds_hold_back_every_group_once():
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 5, 5])
    folds = fine_tuning.folds_of(groups, seed=1)
    assert sorted(np.unique(folds)) == [0, 1, 2]
    assert all(len(set(folds[groups == group])) == 1 for group in groups)
    np.testing.assert_array_equal(folds, fine_tuning.folds_of(groups, seed=1))
