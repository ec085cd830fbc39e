"""What training from scratch starts from."""

import math

import torch
from torch import nn

KINDS = ("darknet", "later")


@torch.no_grad()
def initialise(part: nn.Module, kind: str) -> None:
    """Draw the weights of the convolutions of ``part``.

    Args:
        part: of the detector.
        kind: "darknet": normal, for activations that keep their variance, biases 0; "later":
            as PyTorch draws them, see :func:`start_predictor` for the biases.

    Raises:
        ValueError: another kind; names the key.
    """
    if kind not in KINDS:
        raise ValueError(f'MODEL.YOLOv3.INIT is "{kind}", must be one of {", ".join(KINDS)}')
    if kind == "later":
        return
    for conv in (module for module in part.modules() if isinstance(module, nn.Conv2d)):
        nn.init.kaiming_normal_(conv.weight)  # of its inputs: a deviation of sqrt(2 / inputs)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


@torch.no_grad()
def start_predictor(predictor: nn.Conv2d, anchors: int, stride: int) -> None:
    """Biases as of the later program: eight objects in an image of 640 pixels, of equal classes.

    Args:
        predictor: of ``anchors`` times four box outputs, an objectness and K classes.
        anchors: of a cell.
        stride: of the feature map, in pixels.
    """
    bias = predictor.bias.view(anchors, -1)
    num_classes = bias.shape[1] - 5
    bias[:, 4] = math.log(8 / (640 / stride) ** 2)
    bias[:, 5:] = math.log(0.6 / (num_classes - 0.99999))
