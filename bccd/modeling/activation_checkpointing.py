"""Activation checkpointing: less memory in training for a second forward pass of each part.

A part keeps its inputs alone and computes what is inside again when the backward pass needs it
(arXiv 1604.06174). Losses and gradients are the same; dropout draws the same numbers.
"""

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from detectron2.modeling import FPN, ResNet
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def recomputed(function: Callable, *inputs: Any, part: nn.Module, when: bool = True) -> Any:
    """``function(*inputs)``, computed again in the backward pass instead of kept.

    Args:
        function: the part's computation.
        inputs: its arguments; those that are no tensors are kept as they are.
        part: holds every batch normalisation that ``function`` calls.
        when: whether to do so; else ``function`` is simply called.
    """
    if not when or not torch.is_grad_enabled():
        return function(*inputs)
    return checkpoint(
        function,
        *inputs,
        use_reentrant=False,
        context_fn=lambda: (nullcontext(), _keep_statistics(part)),
    )


@contextmanager
def _keep_statistics(part):
    """Running statistics in ``part`` stay as the first pass has set them: copies are updated."""
    norms = [module for module in part.modules() if isinstance(module, _BatchNorm)]
    buffers = [(norm, name, b) for norm in norms for name, b in norm.named_buffers(recurse=False)]
    for norm, name, buffer in buffers:
        setattr(norm, name, buffer.clone())
    try:
        yield
    finally:
        for norm, name, buffer in buffers:
            setattr(norm, name, buffer)


class _Recomputed:
    """Before a module's class, makes it keep its input alone; see :func:`recompute`."""

    def forward(self, x):
        """As of the class that follows."""
        return recomputed(super().forward, x, part=self)


def recompute(module: nn.Module) -> None:
    """Have ``module``, a function of one tensor, keep its input alone, see :func:`recomputed`.

    Its class is replaced, as ``torch.distributed.fsdp.fully_shard`` does it. PyTorch's
    ``checkpoint_wrapper`` is a private module, which puts another module around it: a feature
    pyramid would go on with the modules in its list.
    """
    kind = type(module)
    module.__class__ = type(f"Recomputed{kind.__name__}", (_Recomputed, kind), {})


def recompute_backbone(backbone: nn.Module) -> None:
    """:func:`recompute` the stem and the stages of a ResNet, and what is cheap of a pyramid on it.

    Args:
        backbone: has a Detectron2 ``ResNet`` in it, or an attribute ``recompute``, by
            which it is told to do so itself.

    Raises:
        ValueError: another backbone.
    """
    if hasattr(backbone, "recompute"):
        backbone.recompute = True
        return
    resnets = [module for module in backbone.modules() if isinstance(module, ResNet)]
    if not resnets:
        raise ValueError(
            "MODEL.ACTIVATION_CHECKPOINTING knows the stages of ResNets, and backbones with an "
            f"attribute recompute; {type(backbone).__name__} is neither: set it to False"
        )
    for resnet in resnets:
        for part in (resnet.stem, *resnet.stages):
            recompute(part)
    for module in backbone.modules():
        if isinstance(module, FPN):
            _recompute_pyramid(module)


def _recompute_pyramid(pyramid):
    """Its 1 x 1 convolutions, with normalisation: their inputs are kept anyhow, by the stages.

    Without normalisation they keep nothing else; the 3 x 3 ones take too long for what they keep.
    """
    for convolution in pyramid.lateral_convs:
        if convolution.norm is not None:
            recompute(convolution)
