"""Packages that AOTInductor compiles, of tiny models with random weights."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from tiny_detectors import CONFIGS, THRESHOLDS, small_smears, tiny_model

from bccd.data.synthetic import draw_smear
from bccd.export import package
from bccd.export.check import find_differences
from bccd.export.detector import NO_DETECTION, exportable
from bccd.export.runtime import ExportedPredictor, load
from bccd.export.save import check_can_write, export_detector
from bccd.modeling.fast_inference.compiler import has_compiler

# Each takes a minute or two: a dense detector, one of proposals, one whose boxes are distributions.
# BCCD_COMPILE_ALL=1 compiles all.
COMPILED = CONFIGS if os.environ.get("BCCD_COMPILE_ALL") else ("ssd", "sparse_rcnn", "yolov8")


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("name", COMPILED)
def test_it_detects_what_the_eager_model_does(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    model, cfg = tiny_model(name)
    path = tmp_path / "a.pt2"
    assert "4 images" in export_detector(model, cfg, THRESHOLDS, path, small_smears())
    assert [x for x in tmp_path.rglob("*") if x.is_file()] == [path]
    predictor = ExportedPredictor("aotinductor", path)
    assert predictor.operating_points == THRESHOLDS
    detector = exportable(model)
    for seed, size in enumerate(((96, 128), (100, 70), (161, 97), (130, 190))):
        assert find_differences(detector, predictor.runtime, [draw_smear(seed, *size)[0]]) == []
    assert len(predictor(draw_smear(0, 240, 320)[0])) > 0
    assert_the_example_runs(path)


def assert_the_example_runs(path):
    page = (Path(__file__).parents[2] / "docs/deployment.md").read_text()
    _, code = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    found = {}
    exec(code.replace("ssd_lite.pt2", str(path)), found)
    assert found["boxes"].shape[::2] == (2, 4) and found["info"]["thresholds"] == THRESHOLDS


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
def test_nothing_found_is_no_error_and_the_path_may_be_relative(tmp_path, monkeypatch):
    model, cfg = tiny_model("ssd")
    model.score_threshold = 0.999
    monkeypatch.chdir(tmp_path)
    export_detector(model, cfg, None, "a.pt2", small_smears()[:1])
    boxes, scores, classes = load("aotinductor", tmp_path / "a.pt2")(
        np.zeros((2, 96, 128, 3), np.uint8)
    )
    assert len(boxes) == len(classes) == 2 and (scores == NO_DETECTION).all()


def test_what_cannot_be_written_is_refused_before_the_work(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"a\.pt: the name must end in \.onnx or \.pt2"):
        check_can_write(tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt2: 8-bit integers need .* \.onnx"):
        check_can_write(tmp_path / "a.pt2", quantized=True)
    monkeypatch.setattr(package, "has_compiler", lambda: False)
    with pytest.raises(ValueError, match=r"a\.pt2 needs a C\+\+ compiler"):
        check_can_write(tmp_path / "a.pt2")


def test_files_that_a_runtime_cannot_load_are_named(tmp_path):
    (tmp_path / "bad.pt2").write_text("nothing")
    with pytest.raises(ValueError, match=r"PyTorch cannot load .*bad\.pt2"):
        load("aotinductor", tmp_path / "bad.pt2")
    with pytest.raises(ValueError, match=r"bad\.pt2: onnx runs files that end in \.onnx"):
        load("onnx", tmp_path / "bad.pt2")
