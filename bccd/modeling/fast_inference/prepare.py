"""What makes a detector that will not be trained again faster."""

import logging

import torch
from detectron2.config import CfgNode
from detectron2.layers import FrozenBatchNorm2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from bccd.modeling.fast_inference.compiler import has_compiler
from bccd.modeling.fast_inference.packed import pack_weights
from bccd.modeling.precision import has_fast_bfloat16

logger = logging.getLogger(__name__)

_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def prepare_for_inference(model: nn.Module, options: CfgNode) -> nn.Module:
    """Make the forward pass of a trained detector faster, in place, as ``cfg.INFERENCE`` says.

    Args:
        model: a detector with a ``backbone``, in eval mode. It cannot be trained afterwards, and
            with FOLD its state dict fits no checkpoint; with PACK it cannot be copied once it has
            run.
        options: ``cfg.INFERENCE``.

    Returns:
        ``model``.

    Raises:
        ValueError: the model is in training mode, or DTYPE is unknown or not for this device.
        RuntimeError: COMPILE on a CPU without a C++ compiler.
    """
    if model.training:
        raise ValueError("only a model in eval mode can be prepared for inference")
    dtype = inference_dtype(options.DTYPE, _device_type(model))
    model.requires_grad_(False)
    if options.FOLD:
        fold_normalization(model)
    if dtype != torch.float32:
        _autocast(model, dtype)
    if options.COMPILE:
        _compile(model.backbone)
    if options.PACK and _device_type(model) == "cpu":
        pack_weights(model, excluded=model.backbone if options.COMPILE else None)
    return model


def inference_dtype(name: str, device_type: str) -> torch.dtype:
    """Type that convolutions and linear layers compute with.

    Args:
        name: ``cfg.INFERENCE.DTYPE``.
        device_type: "cpu" or "cuda".

    Returns:
        the one named; float32, with a warning in the log, for bfloat16 on a CPU that
        has no instructions for it.

    Raises:
        ValueError: ``name`` is unknown, or float16 on a CPU.
    """
    if name not in _DTYPES:
        raise ValueError(f"INFERENCE.DTYPE is {name!r}; known: {', '.join(_DTYPES)}")
    if device_type == "cpu" and name == "float16":
        raise ValueError("INFERENCE.DTYPE float16 is for GPUs; a CPU takes bfloat16 or float32")
    if device_type == "cpu" and name == "bfloat16" and not has_fast_bfloat16():
        logger.warning(
            "INFERENCE.DTYPE is float32 instead: this CPU has no instructions for bfloat16"
        )
        return torch.float32
    return _DTYPES[name]


def fold_normalization(model: nn.Module) -> None:
    """Make batch normalisation part of the convolution before it; outputs stay, to rounding.

    Of Detectron2's ``Conv2d.norm``, whose statistics are constant now. Normalisation over groups
    depends on the image and stays. Then modules with a method ``fold`` fold themselves, see
    :class:`bccd.modeling.capabilities.Foldable`. Weights take the memory order of the images, see
    :func:`bccd.modeling.images.channels_last`.
    """
    for module in model.modules():
        norm = getattr(module, "norm", None)
        if isinstance(module, nn.Conv2d) and isinstance(norm, _NORMS):
            module.weight, module.bias = fuse_conv_bn_weights(
                *(module.weight, module.bias, norm.running_mean, norm.running_var, norm.eps),
                *(norm.weight, norm.bias),
            )
            module.norm = None
    for module in list(model.modules()):
        if hasattr(module, "fold"):
            module.fold()
    model.to(memory_format=torch.channels_last)


def _autocast(model, dtype):
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.to(dtype)  # autocast would do so in every image
    model.forward = torch.autocast(_device_type(model), dtype)(model.forward)


def _compile(backbone):
    # The head is left as it is: ROIAlign and the selections are no better compiled.
    if _device_type(backbone) == "cuda":
        # CUDA graphs: a small backbone is done before Python has launched its next kernel.
        backbone.compile(mode="reduce-overhead")
        return
    if not has_compiler():
        raise RuntimeError("INFERENCE.COMPILE needs a C++ compiler: install g++, or set it False")
    backbone.compile(options={"freezing": True})  # weights are constants, in oneDNN's own order


def _device_type(module):
    return next(module.parameters()).device.type
