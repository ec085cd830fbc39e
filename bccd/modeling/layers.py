"""Layers that detectors build their blocks from."""

from collections.abc import Callable
from functools import partial

from detectron2.layers import Conv2d, get_norm
from torch import Tensor
from torch.nn import functional as F

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "": None,
    "relu": F.relu,
    "silu": F.silu,
    "leaky_relu": partial(F.leaky_relu, negative_slope=0.1),
}
# Of batch normalisation in the YOLO family since YOLOv5; PyTorch's are 1e-5 and 0.1.
YOLO_EPS, YOLO_MOMENTUM = 1e-3, 0.03


def conv_norm(
    in_channels: int,
    out_channels: int,
    kernel_size: int = 1,
    stride: int = 1,
    *,
    dilation: int = 1,
    activation: str = "silu",
    norm: str = "BN",
    eps: float = YOLO_EPS,
    momentum: float = YOLO_MOMENTUM,
) -> Conv2d:
    """A convolution without bias, its normalisation and an activation, as one ``Conv2d``.

    With an odd kernel and stride 1 the map keeps its size. Weights start as PyTorch's convolutions
    do. ``fast_inference`` folds the normalisation into the convolution.

    Args:
        in_channels, out_channels, kernel_size, stride, dilation: of ``nn.Conv2d``.
        activation: key of ``ACTIVATIONS``.
        norm: as in ``detectron2.layers.get_norm``; "" gives the convolution a bias instead.
        eps, momentum: of the normalisation, where it has them.
    """
    normalize = get_norm(norm, out_channels)
    for name, value in (("eps", eps), ("momentum", momentum)):
        if hasattr(normalize, name):
            setattr(normalize, name, value)
    return Conv2d(
        *(in_channels, out_channels, kernel_size, stride),
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        bias=normalize is None,
        norm=normalize,
        activation=ACTIVATIONS[activation],
    )
