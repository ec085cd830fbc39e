"""The blocks of YOLOv8: C2f and the fast spatial pyramid pooling."""

import torch
from torch import Tensor, nn

from bccd.modeling.layers import conv_norm


class Bottleneck(nn.Module):
    """Two 3x3 convolutions; with ``shortcut``, their input is added."""

    def __init__(self, channels: int, *, shortcut: bool, norm: str) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_norm(channels, channels, 3, norm=norm), conv_norm(channels, channels, 3, norm=norm)
        )
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(N, D, H, W) to the same shape."""
        return x + self.convs(x) if self.shortcut else self.convs(x)


class C2f(nn.Module):
    """Cross-stage partial block, of which every bottleneck's output reaches the end.

    A 1x1 convolution makes two halves. Bottlenecks follow each other on the second; both halves and
    each bottleneck's output are concatenated for another 1x1 convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, repeats: int, *, shortcut: bool, norm: str
    ) -> None:
        super().__init__()
        half = out_channels // 2
        self.expand = conv_norm(in_channels, 2 * half, norm=norm)
        self.blocks = nn.ModuleList(
            Bottleneck(half, shortcut=shortcut, norm=norm) for _ in range(repeats)
        )
        self.merge = conv_norm((2 + repeats) * half, out_channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        parts = list(self.expand(x).chunk(2, dim=1))
        for block in self.blocks:
            parts.append(block(parts[-1]))
        return self.merge(torch.cat(parts, dim=1))


class SPPF(nn.Module):
    """Spatial pyramid pooling (arXiv 1406.4729) with one pool three times, as fast as it gets.

    The results are those of pools of 5, 9 and 13 cells side by side.
    """

    def __init__(self, channels: int, *, norm: str) -> None:
        super().__init__()
        self.reduce = conv_norm(channels, channels // 2, norm=norm)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.merge = conv_norm(2 * channels, channels, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        parts = [self.reduce(x)]
        for _ in range(3):
            parts.append(self.pool(parts[-1]))
        return self.merge(torch.cat(parts, dim=1))
