"""The blocks of YOLOv7 (arXiv 2207.02696) and YOLOv7-tiny, before the head.

``conv`` is ``bccd.modeling.layers.conv_norm`` with the normalisation and activation of the network.
Parts are registered in the order of the published network, by which ``convert.py`` pairs them.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ELAN(nn.Module):
    """Efficient layer aggregation (section 4.1): a chain of 3x3 convolutions beside a short cut.

    Concatenated are, the last first, those results of the chain that ``taps`` counts, the chain's
    input and the short cut.
    """

    def __init__(
        self,
        conv: Callable[..., nn.Module],
        channels: tuple[int, int],
        *,
        width: int,
        hidden: int,
        taps: Sequence[int],
    ) -> None:
        """
        Args:
            conv: see the module.
            channels: of the input and of the output.
            width: channels of the short cut and of the chain's input.
            hidden: channels inside the chain, which is ``taps[-1]`` convolutions long.
            taps: after how many convolutions the chain's result is concatenated.
        """
        super().__init__()
        in_channels, out_channels = channels
        self.taps = tuple(taps)
        self.short_cut = conv(in_channels, width)
        self.enter = conv(in_channels, width)
        self.chain = nn.ModuleList(
            conv(hidden if i else width, hidden, 3) for i in range(self.taps[-1])
        )
        self.merge = conv(2 * width + len(self.taps) * hidden, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H, W)."""
        parts = [self.short_cut(x), self.enter(x)]
        x = parts[-1]
        for length, conv in enumerate(self.chain, 1):
            x = conv(x)
            if length in self.taps:
                parts.append(x)
        return self.merge(torch.cat(parts[::-1], dim=1))


class PoolAndStride(nn.Module):
    """Half the resolution by a strided convolution and by max pooling, side by side ("MP")."""

    def __init__(self, conv: Callable[..., nn.Module], in_channels: int, out_channels: int) -> None:
        super().__init__()
        half = out_channels // 2
        self.pooled = conv(in_channels, half)
        self.reduce = conv(in_channels, half)
        self.strided = conv(half, half, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, out, H / 2, W / 2)."""
        strided, pooled = self.strided(self.reduce(x)), self.pooled(F.max_pool2d(x, 2))
        return torch.cat([strided, pooled], dim=1)


def pool_pyramid(x: Tensor) -> list[Tensor]:
    """``x`` and its maxima over 5, 9 and 13 cells a side, (N, D, H, W) each.

    A maximum over 9 is that over 5 of the maxima over 5: 75 comparisons a cell instead of 275.
    """
    parts = [x]
    for _ in range(3):
        parts.append(F.max_pool2d(parts[-1], 5, stride=1, padding=2))
    return parts


class CSPPyramid(nn.Module):
    """Pooling at several sizes inside a cross-stage partial block ("SPPCSPC"), of YOLOv7."""

    def __init__(self, conv: Callable[..., nn.Module], in_channels: int, width: int) -> None:
        super().__init__()
        self.enter = conv(in_channels, width)
        self.short_cut = conv(in_channels, width)
        self.before1, self.before2 = conv(width, width, 3), conv(width, width)
        self.after1, self.after2 = conv(4 * width, width), conv(width, width, 3)
        self.merge = conv(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, width, H, W)."""
        parts = pool_pyramid(self.before2(self.before1(self.enter(x))))
        pooled = self.after2(self.after1(torch.cat(parts, dim=1)))
        return self.merge(torch.cat([pooled, self.short_cut(x)], dim=1))


class TinyCSPPyramid(nn.Module):
    """:class:`CSPPyramid` with fewer convolutions, of YOLOv7-tiny, which pools largest first."""

    def __init__(self, conv: Callable[..., nn.Module], in_channels: int, width: int) -> None:
        super().__init__()
        self.short_cut = conv(in_channels, width)
        self.enter = conv(in_channels, width)
        self.after = conv(4 * width, width)
        self.merge = conv(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) to (N, width, H, W)."""
        pooled = self.after(torch.cat(pool_pyramid(self.enter(x))[::-1], dim=1))
        return self.merge(torch.cat([pooled, self.short_cut(x)], dim=1))
