"""Quantized detectors on tiny models with random weights."""

import copy
import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_detectors import CONFIGS, THRESHOLDS, small_smears, tiny_model

from bccd.export import int8
from bccd.export.detector import exportable
from bccd.export.runtime import load
from bccd.export.save import export_detector


@pytest.fixture(scope="module", params=CONFIGS)
def quantized(request, onnx_of, tmp_path_factory):
    """(path of an fp32 file, of the int8 file made of it, its exportable form)."""
    path, model, _ = onnx_of(request.param)
    target = tmp_path_factory.mktemp("quantized") / "int8.onnx"
    form = exportable(model)
    int8.quantize(path, target, small_smears(), form.int8_modules)
    return path, target, form


def test_the_backbone_is_integers_and_the_rest_is_as_it_was(quantized):
    before, after = (onnx.load(path) for path in quantized[:2])
    convolutions = [n for n in after.graph.node if n.op_type == "Conv"]
    made_by = {output: n.op_type for n in after.graph.node for output in n.output}
    is_integer = [made_by.get(n.input[1]) == "DequantizeLinear" for n in convolutions]
    # A dense detector's head is quantized, too; the dense head of Sparse R-CNN costs accuracy.
    assert sum(is_integer) == sum(
        isinstance(module, torch.nn.Conv2d)
        for name in quantized[2].int8_modules
        for module in quantized[2].get_submodule(name).modules()
    )
    tail = [n for n in before.graph.node if n.op_type not in {*int8.OPERATORS, "Conv"}]
    assert {what_it_does(n) for n in tail} <= {what_it_does(n) for n in after.graph.node}
    assert onnxruntime.InferenceSession(str(quantized[1])).get_modelmeta().custom_metadata_map[
        "bccd"
    ] == next(p.value for p in before.metadata_props if p.key == "bccd")


def what_it_does(node):
    """A node but for its inputs: what was made of integers has another name."""
    node = copy.deepcopy(node)
    del node.input[:]
    return node.SerializeToString()


def test_it_takes_any_number_and_size_of_images_and_detects_much_the_same(quantized):
    before, after = (load("onnx", path) for path in quantized[:2])
    for shape in ((1, 96, 128, 3), (2, 100, 70, 3)):
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        expected, actual = before(images), after(images)
        assert [x.shape for x in expected] == [x.shape for x in actual]
        best = [np.sort(x[1])[:, -5:] for x in (expected, actual)]
        np.testing.assert_allclose(*best, atol=0.1)
        assert not np.array_equal(*best)


def test_metadata_say_what_it_was_calibrated_with(tmp_path):
    model, cfg = tiny_model("ssd")
    calibration = int8.Calibration("some_images", small_smears()[:3])
    path = tmp_path / "ssd.onnx"
    found = export_detector(model, cfg, THRESHOLDS, path, small_smears()[:1], calibration)
    assert "3 images of some_images" in found
    data = json.loads(load("onnx", path).strings["bccd"])
    assert data["precision"] == "int8"
    assert data["calibration"] == {"dataset": "some_images", "images": 3}
    assert list(tmp_path.iterdir()) == [path]


def test_a_model_that_counts_nothing_is_not_written(tmp_path):
    model, cfg = tiny_model("ssd")
    calibration = int8.Calibration("some_images", small_smears()[:1])
    never = dict.fromkeys(THRESHOLDS, 1.1)
    with pytest.raises(int8.UselessCalibrationError, match="counts 0 cells in 1 calibration"):
        export_detector(model, cfg, never, tmp_path / "a.onnx", small_smears()[:1], calibration)
    assert not list(tmp_path.iterdir())


def test_nothing_to_quantize_is_an_error(quantized, tmp_path):
    with pytest.raises(ValueError, match=r"nothing to quantize in model\.nose"):
        int8.quantize(quantized[0], tmp_path / "a.onnx", small_smears(), ("model.nose",))


def test_images_are_drawn_by_seed_and_none_twice():
    dataset = [{"image": torch.full((3, 2, 4), i, dtype=torch.uint8)} for i in range(9)]

    def draw(count, seed):
        return [int(i[0, 0, 0]) for i in int8.draw_calibration(dataset, "d", count, seed).images]

    assert draw(4, 1) == draw(4, 1) != draw(4, 2)
    assert sorted(draw(20, 1)) == list(range(9))
    assert int8.draw_calibration(dataset, "d", 1).images[0].shape == (2, 4, 3)
