"""The dilated encoder (YOLOF, section 4.1): one feature map that sees cells of every size."""

from collections.abc import Sequence

import fvcore.nn.weight_init as weight_init
from detectron2.layers import Conv2d, get_norm
from torch import Tensor, nn
from torch.nn import functional as F


class DilatedEncoder(nn.Module):
    """A projection without activations, then residual blocks of growing dilation."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        mid_channels: int,
        dilations: Sequence[int],
        norm: str,
    ) -> None:
        """
        Args:
            in_channels: of the backbone's feature map.
            channels: of the output.
            mid_channels: inside a residual block.
            dilations: of the 3x3 convolution of each block.
            norm: after every convolution, as in ``detectron2.layers.get_norm``.
        """
        super().__init__()
        self.lateral = Conv2d(in_channels, channels, 1, norm=get_norm(norm, channels))
        self.output = Conv2d(channels, channels, 3, padding=1, norm=get_norm(norm, channels))
        for conv in (self.lateral, self.output):
            weight_init.c2_xavier_fill(conv)
        blocks = (DilatedBlock(channels, mid_channels, dilation, norm) for dilation in dilations)
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, channels, H, W)."""
        return self.blocks(self.output(self.lateral(x)))


class DilatedBlock(nn.Module):
    """1x1, dilated 3x3 and 1x1 convolution, each with ReLU; the sum with the input has none."""

    def __init__(self, channels: int, mid_channels: int, dilation: int, norm: str) -> None:
        super().__init__()
        self.conv1 = activated_conv(channels, mid_channels, 1, norm)
        self.conv2 = activated_conv(mid_channels, mid_channels, 3, norm, dilation=dilation)
        self.conv3 = activated_conv(mid_channels, channels, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        return x + self.conv3(self.conv2(self.conv1(x)))


def activated_conv(
    in_channels: int, out_channels: int, kernel_size: int, norm: str, dilation: int = 1
) -> Conv2d:
    """Convolution, normalisation and ReLU; height and width stay.

    It has a bias in spite of the normalisation, as published. Weights start at N(0, 0.01).
    """
    conv = Conv2d(
        in_channels,
        out_channels,
        kernel_size,
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        norm=get_norm(norm, out_channels),
        activation=F.relu,
    )
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)
    return conv
