"""Several detectors timed in one run, and the command that does it."""

import json
import runpy
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from tiny_detectors import THRESHOLDS

from bccd.benchmark import systems
from bccd.benchmark.systems import Forms, measure_systems
from bccd.counting import predictor
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.synthetic import load_smears

NAME = "timed_smears"
tool = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "time_systems.py"))


@pytest.fixture
def tiny(onnx_of, monkeypatch):
    """Forms of a tiny SSD, with a data set called NAME."""
    if NAME not in DatasetCatalog:
        DatasetCatalog.register(NAME, lambda: load_smears(3, 9, 96, 128))
        MetadataCatalog.get(NAME).set(thing_classes=list(CLASS_NAMES))
    path, model, cfg = onnx_of("ssd")
    monkeypatch.setattr(predictor, "load_prepared", lambda cfg: (model, THRESHOLDS))
    monkeypatch.setattr(predictor, "sha256", lambda file: "")
    monkeypatch.setattr(systems, "load_for_inference", lambda cfg: (model, THRESHOLDS))
    return Forms(cfg, {"onnx": path})


def test_every_form_has_accuracy_and_times(tiny, tmp_path):
    measured = measure_systems({"a": tiny, "b": tiny}, NAME, tmp_path, count=2)
    assert list(measured) == ["a", "b"]
    for found in measured.values():
        assert found["parameters"] > 1000 and found["gflop"] > 0
        assert list(found["milliseconds"]) == list(found["AP"]) == ["eager", "onnx"]
        assert found["AP"]["onnx"] == pytest.approx(found["AP"]["eager"], abs=1e-2)
        assert all(t["runs"] == 2 and t["median"] > 0 for t in found["milliseconds"].values())
    assert (tmp_path / "b-onnx" / "evaluation.json").is_file()


@pytest.fixture
def exports(tiny, monkeypatch):
    """The models that the command would export; it takes the tiny one for each."""
    found = []

    def fake_export(row, model, folder, calibration):
        found.append((row, model, calibration))
        return tiny.files

    names = tool["main"].__wrapped__.__globals__
    monkeypatch.setitem(names, "export", fake_export)
    monkeypatch.setitem(names, "_read_cfg", lambda model: tiny.cfg)
    return found


def test_the_command_takes_what_is_trained_or_shipped(exports, tmp_path, capsys):
    checkpoint = tmp_path / "output/yolof_lite/model_best.pth"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    places = ("--output", str(tmp_path / "output"), "--results", str(tmp_path / "results"))
    rows = ("--rows", "ssd_lite", "yolof_lite", "yolov3_lite")
    flags = ("--dataset", NAME, "--calibrate", NAME, "--images", "1")
    assert tool["main"]([*rows, *flags, *places]) == 0
    assert exports == [("ssd_lite", "ssd_lite", NAME), ("yolof_lite", str(checkpoint), NAME)]
    assert "yolov3_lite: neither trained" in capsys.readouterr().out
    report = json.loads((tmp_path / "results/systems/cost.json").read_text())
    assert list(report["systems"]) == ["ssd_lite", "yolof_lite"]
    assert report["machine"]["threads"] and report["dataset"] == NAME


def test_operations_alone_are_counted_without_a_file(exports, tmp_path):
    places = ("--output", str(tmp_path), "--results", str(tmp_path))
    flags = ("--rows", "ssd_lite", "--operations", "--dataset", NAME, "--calibrate", NAME)
    assert tool["main"]([*flags, *places]) == 0 and not exports
    report = json.loads((tmp_path / "systems/cost.json").read_text())
    assert set(report["systems"]["ssd_lite"]) == {"parameters", "gflop"}
    assert "machine" not in report


def test_both_files_of_a_model_are_written(monkeypatch, tmp_path):
    asked, names = [], tool["main"].__wrapped__.__globals__
    monkeypatch.setitem(names, "bccd_command", lambda words: asked.append(words) or len(asked) > 2)
    files = tool["export"]("a", "a.pth", tmp_path, NAME)
    assert [words[words.index("-o") + 1] for words in asked] == [str(f) for f in files.values()]
    assert asked[1][-3:] == ["--int8", "--calibrate", NAME] and "--int8" not in asked[0]
    with pytest.raises(ValueError, match="cannot be written"):
        tool["export"]("a", "a.pth", tmp_path, NAME)
