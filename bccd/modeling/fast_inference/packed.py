"""Convolutions and linear layers with weights in oneDNN's own order, for inference on a CPU.

oneDNN computes with blocked weights. PyTorch reorders them in every call of a convolution, does not
use oneDNN for 1 x 1 convolutions on one thread, and leaves linear layers to its BLAS, which on AMD
processors is less than half as fast (docs/performance.md). The operators are private ones, those
that ``torch.compile`` calls: PyTorch's public ``torch.utils.mkldnn`` converts the tensors at every
layer, and ``torch.compile`` needs a C++ compiler.
"""

import torch
from detectron2.layers import Conv2d
from torch import nn
from torch.nn import functional as F

_NOTHING_FUSED = ("none", [], "")
# Activations that oneDNN computes while the convolution's result is in the cache.
_FUSED = {F.relu: ("relu", [], ""), F.silu: ("swish", [], "")}


def pack_weights(model: nn.Module, excluded: nn.Module | None = None) -> None:
    """Let the convolutions and linear layers of ``model`` pack their weights when they are used.

    Outputs stay, to rounding. Layers of exactly PyTorch's and Detectron2's classes: attention, for
    one, reads the weights of its own kind of linear layer. The class of a layer is replaced, as a
    feature pyramid has its layers in a list beside its modules.

    Args:
        model: on the CPU, not to be trained any more; cannot be copied once it has run.
        excluded: a part of it that stays as it is.
    """
    if not torch.backends.mkldnn.is_available():
        return
    for layer in set(model.modules()) - set(excluded.modules() if excluded else ()):
        if type(layer) is nn.Linear:
            layer.__class__ = PackedLinear
        elif type(layer) is Conv2d:
            layer.__class__ = PackedConv2d
        elif type(layer) is nn.Conv2d:
            layer.__class__ = PackedConv2d
            layer.norm = layer.activation = None


class _Packed:
    """Keeps the weights packed for the shape of its last input.

    Packed for any other shape they would still be right, and up to eight times slower.
    """

    _shape = _weight = None

    def _packed_for(self, shape):
        if shape != self._shape:
            self._shape, self._weight = shape, self._pack(shape)
        return self._weight


class PackedLinear(_Packed, nn.Linear):
    """``nn.Linear``."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in) to (..., out)."""
        weight = self._packed_for(x.shape[:-1].numel())
        return torch.ops.mkldnn._linear_pointwise(
            x.to(self.weight.dtype), weight, self.bias, *_NOTHING_FUSED
        )

    def _pack(self, rows):
        return torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), rows)


class PackedConv2d(_Packed, Conv2d):
    """``nn.Conv2d``, or Detectron2's."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, D, H', W'), channels last."""
        weight = self._packed_for(x.shape)
        fused = _FUSED.get(self.activation) if self.norm is None else None
        x = torch.ops.mkldnn._convolution_pointwise(
            x.to(self.weight.dtype),
            weight,
            self.bias,
            *self._geometry(),
            *(fused or _NOTHING_FUSED),
        )
        if fused:
            return x
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else self.activation(x)

    def _pack(self, shape):
        weight = self.weight.detach()
        return torch.ops.mkldnn._reorder_convolution_weight(weight, *self._geometry(), shape)

    def _geometry(self):
        return self.padding, self.stride, self.dilation, self.groups
