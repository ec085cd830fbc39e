"""Checkpoints of the authors' program (github.com/WongKinYiu/yolov7) as weights of this one.

That program numbers the layers of its network, in the order in which this one's are registered.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from detectron2.layers import Conv2d
from torch import Tensor

from bccd.projects.yolov7.backbone import LAYOUTS, YOLOv7Backbone


@dataclass(frozen=True)
class _Numbers:
    """Layers of one form: convolutions of backbone and neck, of the head, and the predictors."""

    convolutions: str
    towers: str
    last: int


_NUMBERS = {
    "yolov7": _Numbers(
        "0-9 11 13-15 17-22 24 26-28 30-35 37 39-41 43-48 50 "
        "51.cv1 51.cv2 51.cv3 51.cv4 51.cv5 51.cv6 51.cv7 "
        "52 54 56-61 63 64 66 68-73 75 77-79 81-86 88 90-92 94-99 101",
        towers="102-104",
        last=105,
    ),
    "tiny": _Numbers(
        "0-5 7 9-12 14 16-19 21 23-26 28 29 30 35 37 "
        "38 40 42-45 47 48 50 52-55 57 58 60-63 65 66 68-71 73",
        towers="74-76",
        last=77,
    ),
}
# Of the head; a file without implicit knowledge has it inside the predictors.
_PREDICTORS = {
    "m.{}.weight": "head.predictors.{}.conv.weight",
    "m.{}.bias": "head.predictors.{}.conv.bias",
    "ia.{}.implicit": "head.predictors.{}.added.bias",
    "im.{}.implicit": "head.predictors.{}.factor.bias",
}


@dataclass
class ConvertedYOLOv7:
    """A checkpoint by the names of this program.

    Attributes:
        form: "yolov7" or "tiny".
        weights: of a :class:`YOLOv7`.
        num_classes: K.
        anchors: (L, A, 2), width and height in pixels of the anchors of each feature map.
    """

    form: str
    weights: dict[str, Tensor]
    num_classes: int
    anchors: Tensor


def convert_reference(weights: Mapping[str, Tensor]) -> ConvertedYOLOv7:
    """Rename the weights of a model whose convolutions are not fused.

    Args:
        weights: state dict of YOLOv7 or YOLOv7-tiny, of any number of classes. Shapes are not
            compared here.

    Raises:
        ValueError: it is another model, or one whose normalisation is folded.
    """
    form = next((f for f, x in _NUMBERS.items() if f"model.{x.last}.anchors" in weights), None)
    if form is None:
        raise ValueError(
            "it is no model of YOLOv7 or YOLOv7-tiny, whose anchors are model.105.anchors and "
            "model.77.anchors"
        )
    if "model.0.conv.bias" in weights:
        raise ValueError(
            "its batch normalisation is inside the convolutions already: save the model before "
            "it is fused"
        )
    last = f"model.{_NUMBERS[form].last}."
    names = _convolution_names(form) | _predictor_names(weights, last)
    if missing := [name for name in names if name not in weights and not _is_optional(name)]:
        raise ValueError(f"it lacks {', '.join(missing[:5])}")
    converted = {new: weights[old] for old, new in names.items() if old in weights}
    ignored = {f"{last}anchors", f"{last}anchor_grid"}
    if unknown := sorted(set(weights) - set(names) - ignored):
        raise ValueError(f"it has layers that are not known: {', '.join(unknown[:5])}")
    _add_implicit(converted)
    anchors = weights[f"{last}anchors"]
    strides = anchors.new_tensor([8, 16, 32])[: len(anchors)]
    outputs = len(weights[f"{last}m.0.bias"]) // anchors.shape[1]
    return ConvertedYOLOv7(form, converted, outputs - 5, anchors * strides[:, None, None])


def _is_optional(name):
    return name.endswith(("implicit", "num_batches_tracked"))


def _convolution_names(form):
    """Old name -> new name of the convolutions and their normalisation."""
    with torch.device("meta"):
        backbone = YOLOv7Backbone(LAYOUTS[form])
    ours = [name for name, module in backbone.named_modules() if isinstance(module, Conv2d)]
    theirs = _numbers(_NUMBERS[form].convolutions)
    pairs = [
        (f"model.{old}.conv", f"model.{old}.bn", f"backbone.{new}")
        for old, new in zip(theirs, ours, strict=True)
    ]
    for index, number in enumerate(_numbers(_NUMBERS[form].towers)):
        old, new = f"model.{number}", f"head.towers.{index}"
        if form == "tiny":
            pairs.append((f"{old}.conv", f"{old}.bn", new))
            continue
        for branch, part in (("rbr_dense", "wide"), ("rbr_1x1", "narrow")):
            pairs.append((f"{old}.{branch}.0", f"{old}.{branch}.1", f"{new}.{part}"))
    names = {}
    for conv, norm, new in pairs:
        names[f"{conv}.weight"] = f"{new}.weight"
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            names[f"{norm}.{name}"] = f"{new}.norm.{name}"
    return names


def _predictor_names(weights, last):
    levels = range(len(weights[f"{last}anchors"]))
    return {
        last + old.format(level): new.format(level)
        for old, new in _PREDICTORS.items()
        for level in levels
    }


def _add_implicit(converted):
    for name in [name for name in converted if name.endswith(".conv.bias")]:
        predictor, bias = name.removesuffix(".conv.bias"), converted[name]
        channels = converted[f"{predictor}.conv.weight"].shape[1]
        converted.setdefault(f"{predictor}.added.bias", bias.new_zeros(1, channels, 1, 1))
        converted.setdefault(f"{predictor}.factor.bias", bias.new_ones(1, len(bias), 1, 1))


def _numbers(text):
    """The words of ``text``, "0-2" written out as "0", "1", "2"."""
    numbers = []
    for word in text.split():
        first, dash, last = word.partition("-")
        numbers += map(str, range(int(first), int(last) + 1)) if dash else [word]
    return numbers
