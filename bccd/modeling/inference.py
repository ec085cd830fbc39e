"""What a detector that will not be trained again can do without."""

import torch
from detectron2.layers import FrozenBatchNorm2d
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)


def prepare_for_inference(model):
    """Make the forward pass of a trained detector faster; its outputs stay, to rounding.

    The batch normalisation after a convolution (Detectron2's ``Conv2d.norm``), constant now,
    becomes part of the convolution, and weights take the memory order of the images
    (:func:`bccd.modeling.images.channels_last`). Normalisation over groups depends on the image and
    stays.

    Args:
        model (nn.Module): in eval mode; changed in place: its state dict fits no checkpoint.

    Returns:
        nn.Module: ``model``.

    Raises:
        ValueError: the model is in training mode.
    """
    if model.training:
        raise ValueError("only a model in eval mode can be prepared for inference")
    for module in model.modules():
        norm = getattr(module, "norm", None)
        if isinstance(module, nn.Conv2d) and isinstance(norm, _NORMS):
            module.weight, module.bias = _folded(module, norm)
            module.norm = None
    return model.to(memory_format=torch.channels_last)


def _folded(conv, norm):
    statistics = (norm.running_mean, norm.running_var, norm.eps)
    return fuse_conv_bn_weights(conv.weight, conv.bias, *statistics, norm.weight, norm.bias)
