"""Names of the released program's weights, mapped to those of this project.

Its modules are numbered as they follow each other: ``model.0`` to ``model.9`` are the body,
``model.12`` to ``model.21`` the path aggregation network, ``model.22`` is the head.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bccd.projects.yolov8.backbone import scaled

# DEPTH, WIDTH and MAX_CHANNELS of the published sizes.
SIZES = {
    "n": (0.33, 0.25, 1024),
    "s": (0.33, 0.50, 1024),
    "m": (0.67, 0.75, 768),
    "l": (1.0, 1.0, 512),
    "x": (1.0, 1.25, 512),
}
_BODY = {
    "0": "bottom_up.stem",
    **{str(1 + 2 * i + j): f"bottom_up.stages.{i}.{j}" for i in range(4) for j in range(2)},
    "9": "bottom_up.stages.3.2",
    **{"12": "to_finer.0", "15": "to_finer.1"},
    **{"16": "down.0", "18": "to_coarser.0", "19": "down.1", "21": "to_coarser.1"},
}
_TOWERS = {"cv2": ("box_convs", "box_bins"), "cv3": ("label_convs", "class_logits")}
_NOT_YOLOV8 = "it is no detector of the sizes n, s, m, l or x of YOLOv8"


@dataclass
class ConvertedWeights:
    """Weights under this project's names, and what they say of their model.

    Attributes:
        weights: for a ``YOLOv8``.
        size: key of SIZES.
        num_classes: K.
    """

    weights: dict[str, Tensor]
    size: str
    num_classes: int


def convert_reference(weights: Mapping[str, Tensor]) -> ConvertedWeights:
    """Rename weights of the released program.

    Args:
        weights: ``model.0.conv.weight`` and so on; batch normalisation is not folded.

    Raises:
        ValueError: they are of no YOLOv8, of another task, or of a size that is not published.
    """
    converted = {}
    for name, tensor in weights.items():
        if name.endswith("dfl.conv.weight"):
            name, tensor = "distances.values", tensor.flatten()
            if not torch.equal(tensor, torch.arange(float(len(tensor)))):
                raise ValueError(f"the distances of its bins are not 0, 1, ...: {_NOT_YOLOV8}")
        else:
            name = _rename(name)
        converted[name] = tensor
    last = converted.get("head.class_logits.0.bias")
    if last is None:
        raise ValueError(f"it has no class scores: {_NOT_YOLOV8}")
    return ConvertedWeights(converted, _size(converted), len(last))


def _rename(name):
    match = re.fullmatch(r"model\.(\d+)\.(.+)", name)
    if match and match[1] in _BODY:
        return f"backbone.{_BODY[match[1]]}{_inside(match[1], match[2])}"
    head = re.fullmatch(r"model\.22\.(cv[23])\.(\d)\.(.+)", name)
    if head is None:
        raise ValueError(f"it has {name}: {_NOT_YOLOV8}")
    convs, last = _TOWERS[head[1]]
    if head[3].startswith("2."):
        return f"head.{last}.{head[2]}{head[3][1:]}"
    return f"head.{convs}.{head[2]}.{_layer(head[3])}"


def _inside(module, name):
    """What follows the name of a module: '.merge.norm.bias' of 'cv2.bn.bias'."""
    first = "reduce" if module == "9" else "expand"
    name = re.sub(r"^m\.(\d+)\.cv([12])\.", lambda m: f"blocks.{m[1]}.convs.{int(m[2]) - 1}.", name)
    name = re.sub(r"^cv1\.", f"{first}.", name)
    return f".{_layer(re.sub(r'^cv2[.]', 'merge.', name))}"


def _layer(name):
    return re.sub(r"(^|\.)bn\.", r"\1norm.", re.sub(r"(^|\.)conv\.", r"\1", name))


def _size(converted):
    stem = converted.get("backbone.bottom_up.stem.weight")
    blocks = sum(
        re.fullmatch(r"backbone\.bottom_up\.stages\.1\.1\.blocks\.\d+\.convs\.0\.weight", name)
        is not None
        for name in converted
    )
    for size, factors in SIZES.items():
        channels, repeats = scaled(*factors)
        if stem is not None and (len(stem), blocks) == (channels[0], repeats[1]):
            return size
    raise ValueError(f"its stem and stages are not as wide and deep: {_NOT_YOLOV8}")
