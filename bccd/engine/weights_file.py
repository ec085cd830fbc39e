"""Weights to publish: safetensors in half precision, which hold tensors and text and no code."""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

SUFFIX = ".safetensors"
_METADATA = ("operating_points", "class_names", "class_colors")


def to_half(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Convert matrices and filters to fp16, which halves the size of a model.

    Vectors (biases, normalisation and its statistics) stay as they are: they take little space and
    scale whole channels. Integers and tensors with values beyond the range of fp16 stay, too.

    Args:
        weights: str -> tensor.

    Returns:
        dict: the same keys, in new contiguous memory.
    """
    return {name: _to_half(tensor).clone().contiguous() for name, tensor in weights.items()}


def _to_half(tensor):
    if not tensor.is_floating_point() or tensor.ndim < 2:
        return tensor
    half = tensor.half()
    return half if torch.equal(half.isfinite(), tensor.isfinite()) else tensor


def encode_weights(
    weights: dict[str, torch.Tensor],
    operating_points: dict[str, dict] | None,
    classes: dict | None = None,
) -> bytes:
    """The content of a ``.safetensors`` file that :func:`read_weights` reads.

    Args:
        weights: str -> tensor.
        operating_points: as ``choose_operating_points`` returned.
        classes: ``class_names`` and, where they are not the usual ones,
            ``class_colors``, as a checkpoint has them.

    Returns:
        bytes, the same for the same arguments.
    """
    classes = {key: json.dumps(value) for key, value in (classes or {}).items()}
    return save(weights, {"operating_points": json.dumps(operating_points), **classes})


def read_weights(path: str | Path) -> dict:
    """Read a ``.safetensors`` file, of this project or with weights alone, onto the CPU.

    Returns:
        dict: ``model`` (str -> tensor) and, where the file has them, ``operating_points``,
        ``class_names`` and ``class_colors``.

    Raises:
        ValueError: the file is damaged or not of this kind.
    """
    try:
        weights = load_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"{path} cannot be read as safetensors; it is damaged or not one ({error}). Download "
            "or publish it again"
        ) from error
    try:
        found = {key: json.loads(metadata.get(key, "null")) for key in _METADATA}
    except ValueError as error:
        raise ValueError(
            f"{path} cannot be read: its metadata is damaged ({error}). Download or publish it "
            "again"
        ) from error
    return {"model": weights, **{key: value for key, value in found.items() if value}}
