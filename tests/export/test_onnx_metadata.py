import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array

from bccd import model_zoo
from bccd.export.onnx_metadata import with_strings
from bccd.export.onnx_weights import with_own_weights


def metadata(content):
    return {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}


@pytest.fixture(scope="module")
def content():
    return model_zoo.find_export("ssd_lite").read_bytes()


def test_strings_are_replaced_and_all_else_stays(content):
    long = "ế" * 200  # whose length takes two bytes
    changed = with_strings(content, {"bccd": long, "new": ""})
    assert metadata(changed) == metadata(content) | {"bccd": long, "new": ""}
    models = [onnx.load_from_string(each) for each in (content, changed)]
    for model in models:
        del model.metadata_props[:]
    assert models[0].SerializeToString() == models[1].SerializeToString()
    assert with_strings(changed, metadata(content) | {"new": ""}) == with_strings(
        content, metadata(content) | {"new": ""}
    )


@pytest.mark.parametrize("broken", [b"no model", b"\x08", b"\xff" * 20])
def test_what_is_no_onnx_file_is_refused(broken):
    with pytest.raises(ValueError, match="not an ONNX file"):
        with_strings(broken, {"bccd": ""})


def test_a_file_that_is_cut_off_is_refused(content):
    with pytest.raises(ValueError, match="cut off"):
        with_strings(content[:-1000], {"bccd": ""})


def test_weights_of_another_file_are_put_into_the_file(content, tmp_path):
    source = model_zoo.find_export("ssd_lite")
    whole = with_own_weights(content, source.parent)
    expected = onnx.load(source)  # with the weights of the other file
    found = onnx.load_from_string(whole)
    for tensor, other in zip(found.graph.initializer, expected.graph.initializer, strict=True):
        assert np.array_equal(to_array(tensor), to_array(other))
    assert found.graph.node == expected.graph.node and metadata(whole) == metadata(content)
    assert with_own_weights(whole, tmp_path) == whole
