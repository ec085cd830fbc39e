"""The evaluation of exported files, and its command line."""

import json
import runpy
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from tiny_detectors import THRESHOLDS

from bccd.benchmark.exported import evaluate_exported
from bccd.counting import predictor
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.loading.loader import build_test_loader
from bccd.data.synthetic import load_smears
from bccd.evaluation.evaluator import BCCDEvaluator
from bccd.evaluation.inference import inference_on_dataset
from bccd.export.runtime import ExportedPredictor

ROOT = Path(__file__).parents[2]
NAME = "exported_smears"
tool = runpy.run_path(str(ROOT / "tools" / "evaluate_export.py"))


@pytest.fixture(scope="module")
def exported(onnx_of):
    """(model, its config, path of an .onnx file of it), with a data set called NAME."""
    if NAME not in DatasetCatalog:
        DatasetCatalog.register(NAME, lambda: load_smears(3, 9, 96, 128))
        MetadataCatalog.get(NAME).set(thing_classes=list(CLASS_NAMES))
    path, model, cfg = onnx_of("ssd")
    return model, cfg, path


def test_the_numbers_are_those_of_the_eager_model(exported, tmp_path):
    model, cfg, path = exported
    evaluator = BCCDEvaluator(NAME, operating_points=THRESHOLDS, bootstrap_samples=0)
    expected = inference_on_dataset(model, build_test_loader(cfg, NAME), evaluator)
    found = evaluate_exported(ExportedPredictor("onnx", path), NAME, tmp_path, bootstrap_samples=0)
    assert found["count"] == expected["count"]
    assert found["bbox"] == pytest.approx(expected["bbox"], abs=1e-2)
    assert found["bbox"]["AR100"] > 0
    detections = json.loads((tmp_path / "coco_instances_results.json").read_text())
    assert len(detections) == len(evaluator.detections)
    assert (tmp_path / "timing.json").is_file()


def test_the_command_compares_files(exported, tmp_path):
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(exported[2].read_bytes())
    out = tmp_path / "out"
    flags = ["--dataset", NAME, "--output", str(out), "--bootstrap-samples", "0"]
    assert tool["main"]([str(exported[2]), str(copy), *flags]) == 0
    report = json.loads((out / "comparison.json").read_text())
    first, second = report["files"]
    assert (first["file"], second["file"]) == ("ssd.onnx in onnx", "copy.onnx in onnx")
    assert first["AP"] == second["AP"] and first["precision"] == "fp32"
    assert first["speedup"]["median"] == 1 and second["speedup"]["runs"] == 3
    assert (out / "copy.onnx-onnx" / "evaluation.json").is_file()


def test_the_command_puts_the_eager_model_beside_its_file(exported, tmp_path, monkeypatch):
    model, cfg, path = exported
    monkeypatch.setattr(predictor, "load_prepared", lambda cfg: (model, THRESHOLDS))
    monkeypatch.setattr(predictor, "sha256", lambda file: "")
    monkeypatch.setitem(tool["load_predictors"].__globals__, "load_config", lambda name: cfg)
    flags = ["--dataset", NAME, "--output", str(tmp_path), "--bootstrap-samples", "0"]
    assert tool["main"]([str(path), "--eager", "tiny", *flags]) == 0
    eager, file = json.loads((tmp_path / "comparison.json").read_text())["files"]
    assert (eager["file"], file["file"]) == ("tiny in eager", "ssd.onnx in onnx")
    assert file["AP"] == pytest.approx(eager["AP"], abs=1e-2)


@pytest.mark.parametrize(
    ("file", "dataset", "message"),
    [
        ("none.onnx", NAME, "none.onnx does not exist"),
        ("a.txt", NAME, "ends in .onnx"),
        ("none.onnx", "no_such_set", "no dataset no_such_set is registered"),
    ],
)
def test_mistakes_are_named(exported, tmp_path, capsys, file, dataset, message):
    flags = ["--dataset", dataset, "--output", str(tmp_path / "out")]
    assert tool["main"]([str(tmp_path / file), *flags]) == 2
    assert message in capsys.readouterr().err


def test_one_file_cannot_be_given_twice(exported, tmp_path, capsys):
    flags = ["--dataset", NAME, "--output", str(tmp_path / "out")]
    assert tool["main"]([str(exported[2]), str(exported[2]), *flags]) == 2
    assert "same name" in capsys.readouterr().err


def test_a_file_that_no_runtime_reads_is_named(exported, tmp_path, capsys):
    flags = ["--dataset", NAME, "--output", str(tmp_path / "out"), "--runtime", "aotinductor"]
    assert tool["main"]([str(exported[2]), *flags]) == 2
    assert "ssd.onnx: no --runtime reads it; add onnx" in capsys.readouterr().err
