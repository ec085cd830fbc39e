import argparse
import os
import pathlib
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from bccd.engine.pickled_module import read_pickled_module


def make_program(monkeypatch):
    """A module ``models.yolo`` with a network, as the program that saves a file has it."""
    program, package = types.ModuleType("models.yolo"), types.ModuleType("models")

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.SiLU())
            self.register_buffer("anchors", torch.ones(3, 2))
            self.register_buffer("grid", torch.ones(9), persistent=False)
            self.shared = self.model[0]
            self.nothing = None
            self.register_parameter("none", None)
            self.names, self.yaml = ["RBC", "WBC"], {"nc": 2}
            self.hyp = argparse.Namespace(lr=0.1)
            self.scores = np.float64(0.25), np.arange(3), {"a", "b"}, pathlib.Path("x")

    Model.__module__, Model.__qualname__ = "models.yolo", "Model"
    program.Model = Model
    monkeypatch.setitem(sys.modules, "models", package)
    monkeypatch.setitem(sys.modules, "models.yolo", program)
    return Model


@pytest.fixture
def saved(monkeypatch, tmp_path):
    """(weights, file of the whole model), of a program that is gone."""
    torch.manual_seed(0)
    with monkeypatch.context() as patch:
        model = make_program(patch)()
        model.model[1].running_mean.normal_()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        path = tmp_path / "last.pt"
        content = {"epoch": -1, "model": model.half(), "ema": None, "updates": None}
        torch.save({**content, "optimizer": optimizer.state_dict()}, path)
        return OrderedDict(model.float().state_dict()), path


def test_the_state_dict_of_a_module_is_read_without_its_class(saved):
    expected, path = saved
    assert "models.yolo" not in sys.modules
    found = read_pickled_module(path)
    assert list(found.weights) == list(expected)
    for name, weight in expected.items():
        assert torch.equal(found.weights[name], weight), name
        assert not found.weights[name].requires_grad
    assert found.weights["model.0.weight"].dtype == torch.float32
    assert found.class_names == ("RBC", "WBC")


def test_averaged_weights_come_first(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        make = make_program(patch)
        model, ema = make(), make()
        ema.names = {1: "WBC", 0: "RBC"}
        torch.save({"model": model, "ema": ema}, tmp_path / "a.pt")
    found = read_pickled_module(tmp_path / "a.pt")
    assert torch.equal(found.weights["model.0.weight"], ema.model[0].weight)
    assert found.class_names == ("RBC", "WBC")


@pytest.mark.parametrize("key", ["model", "ema", None])
def test_state_dicts_are_read_as_well(tmp_path, key):
    state = {"a.weight": torch.rand(2, 2, dtype=torch.float16), "a.count": torch.tensor(3)}
    torch.save({key: state} if key else state, tmp_path / "a.pt")
    found = read_pickled_module(tmp_path / "a.pt")
    assert found.class_names is None
    assert torch.equal(found.weights["a.weight"], state["a.weight"].float())
    assert found.weights["a.count"].dtype == torch.int64


class Hostile:
    def __init__(self, function, *args):
        self.called = function, args

    def __reduce__(self):
        return self.called


@pytest.mark.parametrize("function", [os.mkdir, exec, pathlib.Path.mkdir])
def test_nothing_that_a_file_names_is_called(tmp_path, function):
    marker = tmp_path / "made"
    argument = f"import os; os.mkdir({str(marker)!r})" if function is exec else str(marker)
    state = {"weight": torch.zeros(1)}
    torch.save({"model": state, "hook": Hostile(function, argument)}, tmp_path / "a.pt")
    try:
        assert torch.equal(read_pickled_module(tmp_path / "a.pt").weights["weight"], torch.zeros(1))
    except ValueError as error:
        assert "cannot be read" in str(error)
    assert not marker.exists()


def test_other_files_are_refused_in_a_sentence(tmp_path):
    path = tmp_path / "a.pt"
    for write, message in (
        (lambda: path.write_bytes(b"no weights"), "cannot be read as a file of torch.save"),
        (lambda: torch.save({"epoch": 3}, path), 'no weights under "ema" or "model"'),
        (lambda: torch.save([torch.ones(1)], path), 'no weights under "ema" or "model"'),
    ):
        write()
        with pytest.raises(ValueError, match=message) as error:
            read_pickled_module(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        read_pickled_module(tmp_path / "none.pt")


def test_weights_in_double_precision_stay_exact(tmp_path):
    weight = torch.rand(3, dtype=torch.float64)
    torch.save({"model": {"weight": weight}}, tmp_path / "double.pt")
    assert torch.equal(read_pickled_module(tmp_path / "double.pt").weights["weight"], weight)
