import json

import pytest

from bccd import model_zoo
from bccd.export.metadata import KEY, Metadata
from bccd.export.runtime import ExportedPredictor


@pytest.fixture(scope="module")
def good():
    predictor = ExportedPredictor("onnx", model_zoo.DEFAULT_MODEL)
    return json.loads(predictor.runtime.strings[KEY])


def test_what_was_written_is_read(good):
    found = Metadata.from_strings({KEY: json.dumps(good)}, "model.onnx")
    written = json.loads(found.to_strings()[KEY])
    assert {name: written[name] for name in good} == good


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("class_names", []),
        ("class_names", [1]),
        ("thresholds", {"RBC": 0.5}),
        ("thresholds", {"RBC": "x", "WBC": 0.5, "Platelets": 0.5}),
        ("counting_thresholds", 5),
        ("channel_order", "GBR"),
        ("field_size", [480]),
        ("fixed_size", [0, 640]),
        ("min_size", -1),
        ("max_detections", "100"),
        ("pixel_mean", [float("nan")]),
        ("red_cell_diameter", None),
        ("fields_at_once", 1e308),
        ("count_intervals", {"slope": [None]}),
        ("count_intervals", {"slope": ["x"]}),
        ("count_intervals", {"slope": [10**400]}),
        ("class_colors", [[1, 2, 300]]),
    ],
)
def test_a_value_that_cannot_be_used_is_named(good, name, value):
    with pytest.raises(ValueError, match=rf"metadata of model.onnx is damaged: {name} is .*again"):
        Metadata.from_strings({KEY: json.dumps({**good, name: value})}, "model.onnx")


def test_what_is_no_json_is_said(good):
    with pytest.raises(ValueError, match=r"metadata of model.onnx is damaged \("):
        Metadata.from_strings({KEY: json.dumps(good)[:-1]}, "model.onnx")
