"""OpenVINO runs the same file with the same detections."""

import pytest
from tiny_detectors import CONFIGS, THRESHOLDS, small_smears

pytest.importorskip("openvino", reason="OpenVINO is optional: pip install openvino")

from bccd.data.synthetic import draw_smear
from bccd.export.check import find_differences
from bccd.export.detector import exportable
from bccd.export.runtime import ExportedPredictor, load


@pytest.mark.parametrize("name", CONFIGS)
def test_it_detects_what_the_eager_model_does(name, onnx_of):
    path, model, _ = onnx_of(name)
    predictor = ExportedPredictor("openvino", path)
    assert predictor.operating_points == THRESHOLDS
    images = [*small_smears(), draw_smear(1, 161, 97)[0]]
    assert find_differences(exportable(model), predictor.runtime, images) == []


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "bad.onnx").write_text("nothing")
    with pytest.raises(ValueError, match=r"OpenVINO cannot load .*bad\.onnx"):
        load("openvino", tmp_path / "bad.onnx")
