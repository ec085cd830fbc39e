"""``bccd export`` and ``bccd evaluate``: a checkpoint and the file that is made of it."""

import json

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from tiny_detectors import THRESHOLDS, tiny_model

from bccd import cli, console
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.synthetic import load_smears
from bccd.export import save

NAME = "command_smears"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Path of a tiny checkpoint with its config.yaml beside it, and a data set called NAME."""
    if NAME not in DatasetCatalog:
        DatasetCatalog.register(NAME, lambda: load_smears(3, 9, 96, 128))
        MetadataCatalog.get(NAME).set(thing_classes=list(CLASS_NAMES))
    folder = tmp_path_factory.mktemp("trained")
    model, cfg = tiny_model("ssd")
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.TEST.EXPECTED_RESULTS = [["bbox", "AP", 99.0, 0.1]]  # of the training
    cfg.TEST.EXPECTED_RESULTS_DATASET = "another"
    points = {name: {"threshold": score} for name, score in THRESHOLDS.items()}
    weights = {"model": model.state_dict(), "operating_points": points}
    torch.save(weights, folder / "model.pth")
    (folder / "config.yaml").write_text(cfg.dump())
    return str(folder / "model.pth")


def test_a_checkpoint_is_exported_with_its_thresholds(checkpoint, tmp_path, capfd, monkeypatch):
    """tests/export/test_export.py has what export_detector does."""

    def export(model, cfg, thresholds, path, images, calibration):
        assert not model.training and checkpoint == cfg.MODEL.WEIGHTS
        assert thresholds == THRESHOLDS and calibration is None
        assert {max(image.shape) for image in images} <= {96, 120, 128} and images
        path.write_bytes(b"a detector")
        return "detects the same"

    monkeypatch.setattr(save, "export_detector", export)
    path = tmp_path / "tiny.onnx"
    assert cli.main(["export", "--model", checkpoint, "-o", str(path), "--json"]) == console.DONE
    found = json.loads(capfd.readouterr().out)
    expected = {"file": str(path), "written": True, "bytes": 10, "check": "detects the same"}
    assert found == expected


def test_a_file_that_detects_otherwise_is_not_written(checkpoint, tmp_path, capfd, monkeypatch):
    def differ(*_):
        raise save.DifferentModelError("a box is missing")

    monkeypatch.setattr(save, "export_detector", differ)
    flags = ["export", "--model", checkpoint, "-o", str(tmp_path / "other.onnx"), "--json"]
    assert cli.main(flags) == console.INCOMPLETE
    found = json.loads(capfd.readouterr().out)
    assert not found["written"] and "a box is missing" in found["reason"]
    assert list(tmp_path.iterdir()) == []


def evaluate(folder, capfd, *model):
    flags = ["--dataset", NAME, "-o", str(folder), "--bootstrap-samples", "0", "--json"]
    capfd.readouterr()
    assert cli.main(["evaluate", *flags, *model]) == console.DONE
    document = json.loads(capfd.readouterr().out)
    written = json.loads((folder / "inference/evaluation.json").read_text())
    assert written["bbox"]["AP"] == document["results"]["bbox"]["AP"]
    assert written["operating_points_source"] == "given" and written["bootstrap_samples"] == 0
    return document


def test_a_checkpoint_is_evaluated_whatever_its_training_expected(checkpoint, tmp_path, capfd):
    found = evaluate(tmp_path, capfd, "--model", checkpoint)
    assert (found["runtime"], found["model"]) == ("pytorch", checkpoint)


def test_a_shipped_model_and_its_file_have_the_same_numbers(checkpoint, tmp_path, capfd):
    opts = ["--device", "cpu", "--opts", "DATALOADER.NUM_WORKERS", "0"]
    eager = evaluate(tmp_path / "eager", capfd, *opts)
    file = evaluate(tmp_path / "file", capfd, "--runtime", "onnx")
    assert (eager["runtime"], file["runtime"]) == ("pytorch", "onnx")
    assert file["results"]["count"] == eager["results"]["count"]
    assert file["results"]["bbox"] == pytest.approx(eager["results"]["bbox"], abs=0.5)
    assert file["results"]["bbox"]["AP"] > 10


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["evaluate", "--dataset", "command_smear", "-o", "out"], "no dataset command_smear is"),
        (["evaluate", "--dataset", NAME, "-o", "out", "--model", "ssd_light"], "Did you mean"),
        (["export", "-o", "model.txt"], "the name must end in .onnx or .pt2"),
        (["export", "-o", "a.onnx", "--model", "b.onnx"], "is an exported file already"),
        (["export", "-o", "a.onnx", "--int8"], "--int8 needs --calibrate and a data set"),
        (["export", "-o", "a.onnx", "--opts", "TEST.AUG.ENABLED", "True"], "cannot be exported"),
        (["export", "-o", "a.onnx", "--opts", "MODEL.WEIGHT", "x"], "unknown config key MODEL.WEI"),
    ],
)
def test_mistakes_are_refused(tmp_path, monkeypatch, capsys, argv, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == console.REFUSED
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
