"""Floating-point operations and memory traffic of a model, counted while it runs."""

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


def count_flops(model: nn.Module, batch: list[dict]) -> dict[str, float]:
    """Operations of convolutions and matrix products; a multiply-add is two.

    The rest (normalisation, ROIAlign, NMS, ...) is not counted. A training model is counted with
    its backward pass; its gradients are left as they then are.

    Args:
        model: follows Detectron2's model contract.
        batch: its input.

    Returns:
        dict: GFLOP as ``total`` and, of the forward pass of a model that has one, ``backbone``.
    """
    # The counter's hooks need gradients to be on.
    with FlopCounterMode(display=False) as counter:
        output = model(batch)
        if model.training:
            sum(output.values()).backward()
    counts = {"total": counter.get_total_flops() / 1e9}
    backbone = counter.get_flop_counts().get(f"{type(model).__name__}.backbone")
    if backbone and not model.training:
        counts["backbone"] = sum(backbone.values()) / 1e9
    return counts


class TrafficCounter(TorchDispatchMode):
    """Counts the bytes that operations inside its context read and write, in :attr:`bytes`.

    Every operation reads its tensors once and writes its results once, as without any cache and
    without fusion. Views cost nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict | None = None
    ) -> object:
        """Run an operation and count it."""
        result = func(*args, **(kwargs or {}))
        inputs, outputs = _tensors((args, kwargs)), _tensors(result)
        if not func.is_view:
            self.bytes += sum(x.numel() * x.element_size() for x in (*inputs, *outputs))
        return result


def count_traffic(function: Callable[[], object]) -> float:
    """GB that the operations of ``function()`` read and write, see :class:`TrafficCounter`."""
    with TrafficCounter() as counter:
        function()
    return counter.bytes / 1e9


def _tensors(values):
    return [x for x in tree_leaves(values) if isinstance(x, torch.Tensor)]
