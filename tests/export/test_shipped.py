"""The exported files that ship detect what the checkpoints do."""

import json
import shutil
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tiny_detectors import THRESHOLDS, tiny_model

from bccd import model_zoo
from bccd.engine.shipped_models import load_config
from bccd.engine.trained_detector import load_for_inference
from bccd.engine.weights_file import encode_weights, to_half
from bccd.export.check import check_images, find_differences
from bccd.export.detector import exportable
from bccd.export.half_weights import store_in_half
from bccd.export.runtime import ExportedPredictor, find_file, load, resize_for
from bccd.export.shipped import renew_export

SHIPPED = model_zoo.list_models()


@pytest.mark.parametrize("name", SHIPPED)
def test_the_export_is_of_the_checkpoint_that_ships(name):
    card = model_zoo.load_card(name)
    assert card["export"]["weights_sha256"] == card["sha256"]
    metadata = ExportedPredictor("onnx", name).metadata
    assert metadata.source == f"bccd://{name}"
    points = card["operating_points"]
    assert metadata.thresholds == {name: points[name]["threshold"] for name in points}
    stored = card["config"]["COUNTING"]["INTERVALS"]
    assert metadata.count_intervals == {key.lower(): value for key, value in stored.items()}
    assert len(stored["WIDTH"]) == len(metadata.class_names)


@pytest.mark.parametrize("name", SHIPPED)
def test_it_detects_what_the_checkpoint_does(name):
    cfg = load_config(name)
    cfg.MODEL.DEVICE = "cpu"
    model, _ = load_for_inference(cfg)
    metadata = ExportedPredictor("onnx", name).metadata
    images = check_images(partial(resize_for, metadata), count=2)
    assert find_differences(exportable(model), load("onnx", name), images) == []


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """models/ with ``tiny``, whose export is still to be made."""
    monkeypatch.setattr(model_zoo, "MODELS", tmp_path)
    model, cfg = tiny_model("ssd")
    points = {name: {"threshold": value} for name, value in THRESHOLDS.items()}
    weights = tmp_path / "tiny.safetensors"
    weights.write_bytes(encode_weights(to_half(model.state_dict()), points))
    shutil.copy(weights, tmp_path / "other.safetensors")
    cfg.MODEL.WEIGHTS = "bccd://tiny"
    card = json.loads((model_zoo._PACKAGE.parent / "models/ssd_lite.json").read_text())
    card |= {"name": "tiny", "file": weights.name, "sha256": model_zoo.sha256(weights)}
    card |= {"config": json.loads(json.dumps(cfg)), "export": None}
    (tmp_path / "tiny.json").write_text(json.dumps(card))
    return weights


def test_an_export_is_renewed_and_found_until_other_weights_ship(zoo):
    weights = zoo
    with pytest.raises(FileNotFoundError, match="tiny has no exported file"):
        find_file("onnx", "tiny")
    export = renew_export("tiny")
    path = find_file("onnx", "tiny")
    assert path == weights.with_suffix(".onnx") and export["bytes"] == path.stat().st_size
    assert export["sha256"] in weights.with_suffix(".md").read_text()
    with pytest.raises(ValueError, match=r"tiny\.onnx: aotinductor runs files that end in \.pt2"):
        find_file("aotinductor", "tiny")

    card = model_zoo.load_card("tiny")
    changed = weights.with_suffix(".json")
    changed.write_text(json.dumps(card | {"sha256": "another"}))
    with pytest.raises(ValueError, match=r"made of other weights.*export_shipped\.py tiny"):
        find_file("onnx", "tiny")
    changed.write_text(json.dumps(card))
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"tiny\.onnx is damaged.*git checkout"):
        find_file("onnx", "tiny")


def test_weights_are_stored_in_half_precision_where_that_loses_nothing(tmp_path):
    rng = np.random.default_rng(0)
    half = rng.normal(size=(8, 16, 3, 3)).astype(np.float16).astype(np.float32)
    scaled = half * rng.uniform(0.1, 3, (8, 1, 1, 1)).astype(np.float32)
    other = rng.normal(size=(8, 16, 3, 3)).astype(np.float32)
    arrays = {"half": half, "scaled": scaled, "other": other}
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in arrays],
        "weights",
        [],
        [helper.make_tensor_value_info(f"{name}_out", 1, None) for name in arrays],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    path = tmp_path / "weights.onnx"
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, ir_version=9, opset_imports=opsets), path)
    before = path.stat().st_size
    store_in_half(path, {"scaled": half, "other": half})
    assert path.stat().st_size < 0.7 * before
    import onnxruntime

    found = onnxruntime.InferenceSession(str(path)).run(None, {})
    for array, expected in zip(found, arrays.values(), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-6, atol=0)
    np.testing.assert_array_equal(found[0], half)
    np.testing.assert_array_equal(found[2], other)
