import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from bccd.engine.checkpoint import BCCDCheckpointer, read_checkpoint


class Evil:
    def __init__(self, call, *arguments):
        self.reduced = call, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_values_load(tmp_path, protocol):
    weights = OrderedDict(a=np.arange(6, dtype=np.float32).reshape(2, 3), b=np.float64(0.5))
    data = {"model": weights, "__author__": "somebody", "matching_heuristics": True}
    (tmp_path / "zoo.pkl").write_bytes(pickle.dumps(data, protocol))
    loaded = read_checkpoint(tmp_path / "zoo.pkl")
    np.testing.assert_array_equal(loaded["model"]["a"], weights["a"])
    assert loaded["model"]["b"] == 0.5 and loaded["__author__"] == "somebody"


@pytest.mark.parametrize("call", [os.mkdir, eval, pickle.loads, np.load, torch.load, np.fromfile])
def test_a_pickle_that_calls_anything_is_refused_before_it_does(tmp_path, call):
    target = tmp_path / "ran"
    argument = f"__import__('os').mkdir({str(target)!r})" if call is eval else str(target)
    evil = {"model": {"a": np.ones(2)}, "x": Evil(call, argument)}
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(evil))
    with pytest.raises(ValueError, match=r"evil\.pkl holds more than NumPy.*can run code"):
        read_checkpoint(tmp_path / "evil.pkl")
    assert not target.exists()


def test_an_unusual_codec_and_an_object_array_cannot_call_either(tmp_path):
    import _codecs

    inside = np.array([Evil(os.getpid)], dtype=object)
    for evil in (Evil(_codecs.encode, "x", "rot13"), inside):
        (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"x": evil}))
        with pytest.raises(ValueError, match="can run code"):
            read_checkpoint(tmp_path / "evil.pkl")


@pytest.mark.parametrize("content", [b"", b"not found", pickle.dumps(np.ones(9))[:-20]])
def test_a_damaged_pickle_is_named(tmp_path, content):
    (tmp_path / "cut.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=r"cut\.pkl cannot be read.*damaged"):
        read_checkpoint(tmp_path / "cut.pkl")


def test_a_pickle_without_named_weights_is_an_error(tmp_path):
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match=r"list\.pkl holds no weights by name, but a list"):
        read_checkpoint(tmp_path / "list.pkl")


def test_caffe2_weights_reach_the_model_without_momentum(tmp_path):
    class Stem(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.ModuleDict({"conv1": nn.Conv2d(3, 2, 1, bias=False)})

    filters = np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)
    data = {"blobs": {"conv1_w": filters, "conv1_w_momentum": filters}}
    (tmp_path / "c2.pkl").write_bytes(pickle.dumps(data, 2))
    assert list(read_checkpoint(tmp_path / "c2.pkl")["model"]) == ["conv1_w"]
    model = Stem()
    BCCDCheckpointer(model, require_all=True).load(str(tmp_path / "c2.pkl"))
    np.testing.assert_array_equal(model.stem["conv1"].weight.detach(), filters)
