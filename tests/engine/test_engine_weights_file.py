import pytest
import torch
from safetensors.torch import save

from bccd.engine.checkpoint import read_checkpoint
from bccd.engine.weights_file import encode_weights, read_weights, to_half

POINTS = {"RBC": {"threshold": 0.4, "precision": 0.9, "recall": None, "f1": 0.8}}


def test_matrices_are_halved_and_what_would_suffer_is_kept():
    weights = {
        "conv.weight": torch.full((2, 3, 1, 1), 0.1),
        "conv.bias": torch.tensor([0.1, 1e-9]),
        "norm.running_var": torch.tensor([1e6]),
        "norm.num_batches_tracked": torch.tensor(7),
        "large": torch.tensor([[1e5, 0.1]]),
    }
    half = to_half(weights)
    assert {name: tensor.dtype for name, tensor in half.items()} == {
        "conv.weight": torch.float16,
        "conv.bias": torch.float32,
        "norm.running_var": torch.float32,
        "norm.num_batches_tracked": torch.int64,
        "large": torch.float32,
    }
    for name, tensor in weights.items():
        torch.testing.assert_close(half[name].to(tensor.dtype), tensor, rtol=1e-3, atol=0)


def test_weights_that_share_memory_and_views_can_be_written(tmp_path):
    shared = torch.arange(6.0).reshape(2, 3)
    weights = {"a": shared, "b": shared, "c": shared.T, "d": shared[0], "e": shared[0]}
    (tmp_path / "m.safetensors").write_bytes(encode_weights(to_half(weights), None))
    read = read_weights(tmp_path / "m.safetensors")
    assert set(read) == {"model"}
    for name, tensor in weights.items():
        assert torch.equal(read["model"][name].float(), tensor)


def test_operating_points_come_back(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(encode_weights({"a": torch.ones(2)}, POINTS))
    assert read_checkpoint(path)["operating_points"] == POINTS


@pytest.mark.parametrize("content", [b"", b"not found", None])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "m.safetensors"
    whole = encode_weights({"a": torch.ones(100)}, POINTS)
    path.write_bytes(whole[:-8] if content is None else content)
    with pytest.raises(ValueError, match=r"m\.safetensors cannot be read.*damaged"):
        read_checkpoint(path)


def test_metadata_that_is_damaged_is_said(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(save({"a": torch.zeros(1)}, {"class_names": '["RBC"'}))
    with pytest.raises(ValueError, match=r"m.safetensors cannot be read: its metadata is damaged"):
        read_checkpoint(path)
