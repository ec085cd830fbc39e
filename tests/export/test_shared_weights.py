"""Shipped .onnx files, whose weights lie in the .safetensors file beside them."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from bccd.export.shared_weights import share_weights


@pytest.fixture
def pair(tmp_path):
    """A file that multiplies by two weights, one of which the other file has, too."""
    rng = np.random.default_rng(0)
    shared, own = (rng.normal(size=(64, 64)).astype(np.float16) for _ in range(2))
    nodes = [
        helper.make_node("MatMul", ["x", "shared_half"], ["y"]),
        helper.make_node("MatMul", ["y", "own_half"], ["z"]),
    ]
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT16, [1, 64]) for n in "xz"]
    weights = [
        numpy_helper.from_array(w, n) for w, n in ((shared, "shared_half"), (own, "own_half"))
    ]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m.onnx")
    save_file({"first": own[:1].copy(), "layer": shared}, tmp_path / "m.safetensors")
    return tmp_path / "m.onnx", tmp_path / "m.safetensors"


def _run(path):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((1, 64), np.float16)})[0]


def test_weights_that_both_files_have_leave_one_and_results_stay(pair):
    path, weights = pair
    before, size = _run(path), path.stat().st_size
    share_weights(path, weights)
    assert np.array_equal(_run(path), before)
    assert size - path.stat().st_size > 64 * 64 * 2 - 200  # the one that both have
    kept = onnx.load(path, load_external_data=False).graph.initializer
    assert [i.HasField("raw_data") for i in kept] == [False, True]


def test_weights_of_another_checkpoint_stay_in_the_file(pair):
    path, weights = pair
    save_file({"layer": np.zeros((64, 64), np.float16)}, weights)
    before = _run(path)
    share_weights(path, weights)
    weights.unlink()
    assert np.array_equal(_run(path), before)
