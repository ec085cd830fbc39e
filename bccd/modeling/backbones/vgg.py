"""VGG-16 as SSD uses it (arXiv 1512.02325, sections 2.1 and 3), as a Detectron2 backbone."""

import fvcore.nn.weight_init as weight_init
import torch
from detectron2.config import CfgNode
from detectron2.layers import Conv2d, ShapeSpec, get_norm
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.activation_checkpointing import recomputed

# Output channels of the 3x3 convolutions in the five stages (VGG-16, "configuration D").
_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# What follows fc7, per input size: (name, channels of its 1x1 and its second convolution, kernel,
# stride and padding of the second).
_EXTRA_LAYERS = {
    300: (
        ("conv8", 256, 512, 3, 2, 1),
        ("conv9", 128, 256, 3, 2, 1),
        ("conv10", 128, 256, 3, 1, 0),
        ("conv11", 128, 256, 3, 1, 0),
    ),
    512: (
        ("conv8", 256, 512, 3, 2, 1),
        ("conv9", 128, 256, 3, 2, 1),
        ("conv10", 128, 256, 3, 2, 1),
        ("conv11", 128, 256, 3, 2, 1),
        ("conv12", 128, 256, 4, 1, 1),
    ),
}
# Distance in pixels between the default boxes of neighbouring cells, as in the published models;
# the unpadded layers of SSD300 make it differ from the product of the strides.
_OUTPUT_STRIDES = {300: (8, 16, 32, 64, 100, 300), 512: (8, 16, 32, 64, 128, 256, 512)}


class L2Norm(nn.Module):
    """Scale each position's feature vector to a learnt length per channel (ParseNet; SSD, 3.1)."""

    def __init__(self, channels: int, scale: float = 20.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), float(scale)))

    def forward(self, x: Tensor) -> Tensor:
        """``(N, D, H, W)`` to ``(N, D, H, W)``."""
        # In fp32: under autocast the sum of squares of 512 channels overflows half precision.
        normalized = F.normalize(x.float(), dim=1, eps=1e-10)
        return (normalized * self.weight.float().view(1, -1, 1, 1)).to(x.dtype)


class VGG16(Backbone):
    """VGG-16 without its classifier, with fc6 and fc7 as convolutions and SSD's extra layers.

    Outputs ``conv4_3`` (L2-normalised), ``conv7`` (fc7) and ``conv8_2`` to ``conv11_2``
    (``conv12_2`` for 512): maps of 38, 19, 10, 5, 3, 1 or of 64, 32, 16, 8, 4, 2, 1 cells a side.
    """

    def __init__(self, input_size: int = 300, norm: str = "") -> None:
        """
        Args:
            input_size: 300 or 512, side in pixels of the square input.
            norm: normalisation after every convolution, as in ``detectron2.layers.get_norm``; ""
                as published, which needs pre-trained weights to train.

        Raises:
            ValueError: another input size.
        """
        super().__init__()
        if input_size not in _EXTRA_LAYERS:
            raise ValueError(
                f"MODEL.VGG.INPUT_SIZE is {input_size}, must be one of {sorted(_EXTRA_LAYERS)}"
            )
        self.input_size = input_size
        self.recompute = False  # keep the input of a stage alone: activation_checkpointing
        self._norm = norm
        channels = 3
        for stage, widths in enumerate(_STAGES, 1):
            for index, width in enumerate(widths, 1):
                self._add_conv(f"conv{stage}_{index}", channels, width, 3, padding=1)
                channels = width
        self._add_conv("conv6", channels, 1024, 3, padding=6, dilation=6)
        self._add_conv("conv7", 1024, 1024, 1)
        self.l2_norm = L2Norm(_STAGES[3][-1])
        self._out_feature_channels = {"conv4_3": _STAGES[3][-1], "conv7": 1024}
        self._add_extra_layers(1024)
        self._out_features = list(self._out_feature_channels)
        self._out_feature_strides = dict(
            zip(self._out_features, _OUTPUT_STRIDES[input_size], strict=True)
        )

    def _add_conv(self, name, in_channels, out_channels, kernel_size, **kwargs):
        conv = Conv2d(
            in_channels,
            out_channels,
            kernel_size,
            bias=not self._norm,
            norm=get_norm(self._norm, out_channels),
            activation=F.relu,
            **kwargs,
        )
        weight_init.c2_msra_fill(conv)
        self.add_module(name, conv)

    def _add_extra_layers(self, channels):
        for name, squeezed, width, kernel_size, stride, padding in _EXTRA_LAYERS[self.input_size]:
            self._add_conv(f"{name}_1", channels, squeezed, 1)
            self._add_conv(
                f"{name}_2", squeezed, width, kernel_size, stride=stride, padding=padding
            )
            self._out_feature_channels[f"{name}_2"] = channels = width

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """
        Args:
            x: ``(N, 3, input_size, input_size)``.

        Returns:
            feature name to ``(N, D, H, W)``, from the finest map to the coarsest.

        Raises:
            ValueError: images of another size, for which the default boxes would be misplaced.
        """
        if tuple(x.shape[-2:]) != (self.input_size, self.input_size):
            raise ValueError(
                f"this VGG takes images of {self.input_size} x {self.input_size} pixels, got "
                f"{x.shape[-2]} x {x.shape[-1]}: set INPUT.FIXED_SIZE to "
                f"({self.input_size}, {self.input_size}), or MODEL.VGG.INPUT_SIZE"
            )
        outputs = {}
        for stage in range(1, len(_STAGES) + 1):
            x = recomputed(self._stage, x, stage, part=self, when=self.recompute)
            if stage == 4:
                outputs["conv4_3"] = self.l2_norm(x)
            if stage < 5:
                # Rounding up makes 75 cells 38, as in the published maps.
                x = F.max_pool2d(x, kernel_size=2, stride=2, ceil_mode=True)
        x = F.max_pool2d(x, kernel_size=3, stride=1, padding=1)
        outputs["conv7"] = x = self.conv7(self.conv6(x))
        for name, *_ in _EXTRA_LAYERS[self.input_size]:
            x = getattr(self, f"{name}_2")(getattr(self, f"{name}_1")(x))
            outputs[f"{name}_2"] = x
        return outputs

    def _stage(self, x, stage):
        for index in range(1, len(_STAGES[stage - 1]) + 1):
            x = getattr(self, f"conv{stage}_{index}")(x)
        return x


@BACKBONE_REGISTRY.register()
def build_vgg_ssd_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> VGG16:
    """VGG-16 for SSD from ``MODEL.VGG``. All its layers train: SSD freezes none.

    Raises:
        ValueError: ``input_shape`` has other than three channels.
    """
    if input_shape != ShapeSpec(channels=3):
        raise ValueError(f"VGG takes images of three channels, got {input_shape}")
    return VGG16(input_size=cfg.MODEL.VGG.INPUT_SIZE, norm=cfg.MODEL.VGG.NORM)


def convert_torchvision_vgg16(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """ImageNet weights of ``torchvision.models.vgg16`` as weights of :class:`VGG16`.

    The input channels are turned from RGB to Detectron2's BGR, so use them with
    ``MODEL.PIXEL_MEAN [103.53, 116.28, 123.675]`` and ``MODEL.PIXEL_STD [57.375, 57.12, 58.395]``.
    fc6 and fc7 are thinned out to 1024 outputs, fc6 spatially from 7x7 to 3x3, by taking every
    fourth and every third value (section 3, after DeepLab-LargeFOV).

    Args:
        state_dict: of a torchvision ``vgg16`` without batch normalisation, with its classifier.

    Returns:
        parameter name to tensor, for a backbone with ``norm=""``.

    Raises:
        ValueError: a weight is missing or has another shape.
    """
    convs = [
        f"conv{s}_{i}" for s, widths in enumerate(_STAGES, 1) for i in range(1, len(widths) + 1)
    ]
    converted, index = {}, 0
    try:
        for name in convs:
            for parameter in ("weight", "bias"):
                converted[f"{name}.{parameter}"] = state_dict[f"features.{index}.{parameter}"]
            # Two modules a convolution (itself, ReLU), one more where a pooling layer follows.
            index += 3 if f"{name[:6]}{int(name[6]) + 1}" not in convs else 2
        fc6 = state_dict["classifier.0.weight"].view(4096, 512, 7, 7)
        fc7 = state_dict["classifier.3.weight"].view(4096, 4096, 1, 1)
        converted["conv6.bias"] = state_dict["classifier.0.bias"][::4]
        converted["conv7.bias"] = state_dict["classifier.3.bias"][::4]
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"not the weights of torchvision.models.vgg16: {error}") from error
    converted["conv1_1.weight"] = converted["conv1_1.weight"].flip(1)
    converted["conv6.weight"] = fc6[::4, :, ::3, ::3]
    converted["conv7.weight"] = fc7[::4, ::4]
    return {name: tensor.contiguous() for name, tensor in converted.items()}
