"""Weights of Darknet's files, and of the later program's, in the names of this implementation."""

import re
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from detectron2.layers import Conv2d
from torch import Tensor, nn

from bccd.projects.yolov3.detector import YOLOv3
from bccd.projects.yolov3.head import PoolingPyramid

# Tensors of a convolution and its normalisation in a later file, with their names here.
_PARTS = {
    "conv.weight": "weight",
    "bn.weight": "norm.weight",
    "bn.bias": "norm.bias",
    "bn.running_mean": "norm.running_mean",
    "bn.running_var": "norm.running_var",
    "bn.num_batches_tracked": "norm.num_batches_tracked",
}


def ordered_convs(model: YOLOv3) -> list[tuple[str, nn.Conv2d]]:
    """Names and convolutions of the model, in the order of Darknet's files.

    That is the backbone's, then from the coarsest feature map on those of the level, its predictor
    and the one that leads to the next level.
    """
    names = {module: name for name, module in model.named_modules()}
    head = model.head
    parts = [model.backbone]
    for level in reversed(range(len(head.towers))):
        parts += [head.branches[level], head.towers[level], head.predictors[level]]
        parts += [head.laterals[level - 1]] if level else []
    found = (m for part in parts for m in part.modules() if isinstance(m, nn.Conv2d))
    return [(names[conv], conv) for conv in found]


def read_darknet(path: str | Path) -> np.ndarray:
    """The numbers of a file ``.weights``, behind its header.

    Raises:
        ValueError: it is too short or no multiple of four bytes long.
    """
    content = Path(path).read_bytes()
    # Major and minor version, revision, and the number of images seen, in 64 bits from 0.2 on.
    if len(content) >= 20:
        major, minor, _ = struct.unpack("<3i", content[:12])
        start = 20 if 10 * major + minor >= 2 and max(major, minor) < 1000 else 16
        if (len(content) - start) % 4 == 0:
            return np.frombuffer(content, "<f4", offset=start)
    raise ValueError(f"{path} is no file of Darknet's weights, or damaged: download it again")


def count_numbers(convs: list[tuple[str, nn.Conv2d]]) -> list[int]:
    """How many numbers of a Darknet file each convolution takes."""
    # A convolution has biases, a normalised one also scales, means and variances.
    return [
        conv.weight.numel() + conv.out_channels * (1 if _norm(conv) is None else 4)
        for _, conv in convs
    ]


def convert_darknet(
    numbers: np.ndarray, convs: list[tuple[str, nn.Conv2d]], *, cpu_eps: float | None = None
) -> dict[str, Tensor]:
    """The state dict of the first convolutions, as many as ``numbers`` are for.

    Args:
        numbers: see :func:`read_darknet`.
        convs: see :func:`ordered_convs`; may be on the meta device.
        cpu_eps: of the normalisation here. If given, variances are such that it computes what
            Darknet does on a CPU, which adds 1e-6 to the deviation and not this to the variance;
            they are float64.

    Raises:
        ValueError: the numbers end within a convolution.
    """
    weights, start = {}, 0
    for (name, conv), count in zip(convs, count_numbers(convs), strict=True):
        if start == len(numbers):
            break
        if start + count > len(numbers):
            raise ValueError(f"the numbers end within {name}")
        parts = torch.from_numpy(numbers[start : start + count].copy())
        start += count
        channels = conv.out_channels
        if _norm(conv) is None:
            weights[f"{name}.bias"], parts = parts[:channels], parts[channels:]
        else:
            bias, scale, mean, variance = parts[: 4 * channels].view(4, channels)
            if cpu_eps is not None:
                variance = (variance.double().sqrt() + 1e-6) ** 2 - cpu_eps
            of_norm = {"weight": scale, "bias": bias, "running_mean": mean, "running_var": variance}
            weights |= {f"{name}.norm.{key}": value for key, value in of_norm.items()}
            parts = parts[4 * channels :]
        weights[f"{name}.weight"] = parts.view(conv.weight.shape)
    return weights


def convert_later(weights: dict[str, Tensor], model: YOLOv3) -> dict[str, Tensor]:
    """The state dict of a file of the later program (ultralytics/yolov3, "model.28.m.0.weight").

    Args:
        weights: its state dict.
        model: of the same kind; may be on the meta device.

    Raises:
        ValueError: it has more or fewer convolutions than the model, or unknown names.
    """
    predictors = {id(conv): level for level, conv in enumerate(model.head.predictors)}
    convs = ordered_convs(model)
    theirs = list(_convolutions(weights))
    ours = [name for name, conv in convs if id(conv) not in predictors]
    if len(theirs) != len(ours):
        raise ValueError(
            f"it has {len(theirs)} normalised convolutions, the model of the config {len(ours)}"
        )
    converted = {
        f"{name}.{_PARTS[part]}": weights[f"{prefix}.{part}"]
        for name, prefix in zip(ours, theirs, strict=True)
        for part in _PARTS
        if f"{prefix}.{part}" in weights
    }
    detect = detect_layer(weights)
    for name, conv in convs:
        if id(conv) in predictors:
            for part in ("weight", "bias"):
                key = f"{detect}.m.{predictors[id(conv)]}.{part}"
                if key not in weights:
                    raise ValueError(f"it lacks {key}")
                converted[f"{name}.{part}"] = weights[key]
    _reorder_pools(converted, model)
    return converted


def detect_layer(weights: dict[str, Tensor]) -> str:
    """Name of the last layer of a later file, "model.28" of the whole YOLOv3.

    Raises:
        ValueError: there is none with anchors: it is of another kind.
    """
    found = [name.removesuffix(".anchors") for name in weights if name.endswith(".anchors")]
    if len(found) != 1:
        raise ValueError('it has no ".anchors": it is not of the anchor-based YOLOv3')
    return found[0]


def _convolutions(weights) -> Iterator[str]:
    """Prefixes of the normalised convolutions, in the order of the layers."""
    prefixes = {n.removesuffix(".conv.weight") for n in weights if n.endswith(".conv.weight")}

    def numbers_as_numbers(name):
        return [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", name)]

    return iter(sorted(prefixes, key=numbers_as_numbers))


def _reorder_pools(weights, model):
    """Pools are concatenated the smallest first in the later program, and behind the map itself."""
    for name, conv in model.named_modules():
        if isinstance(conv, nn.Conv2d) and _follows_pools(model, name):
            parts = weights[f"{name}.weight"].chunk(4, dim=1)
            weights[f"{name}.weight"] = torch.cat(parts[::-1], dim=1)


def _follows_pools(model, name):
    parent, _, index = name.rpartition(".")
    if not (index.isdigit() and int(index)):
        return False
    return isinstance(model.get_submodule(parent)[int(index) - 1], PoolingPyramid)


def _norm(conv):
    return conv.norm if isinstance(conv, Conv2d) else None
