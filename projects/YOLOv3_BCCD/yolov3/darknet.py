"""Darknet-53 (YOLOv3, table 1) and the backbone of YOLOv3-tiny."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from detectron2.config import CfgNode
from detectron2.layers import Conv2d, ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.activation_checkpointing import recomputed
from bccd.modeling.layers import conv_norm
from bccd.projects.yolov3.initialisation import initialise

STEM_CHANNELS = 32
# Channels and residual units of each stage.
STAGES = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
TINY_CHANNELS = (16, 32, 64, 128, 256, 512, 1024)


class ResidualUnit(nn.Module):
    """1x1 convolution to half the channels, 3x3 back; no activation after the sum."""

    def __init__(self, conv: Callable[..., Conv2d], channels: int):
        super().__init__()
        self.reduce = conv(channels, channels // 2, 1)
        self.expand = conv(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same shape."""
        return x + self.expand(self.reduce(x))


class Darknet(Backbone):
    """Stages ``dark1`` to ``dark5`` with strides 2 to 32; its outputs are the last three.

    Attributes:
        recompute: see ``bccd.modeling.capabilities``.
    """

    size_divisibility = 32

    def __init__(self, conv: Callable[..., Conv2d], in_channels: int = 3):
        """
        Args:
            conv: input and output channels, kernel size and stride to a normalised and activated
                convolution.
            in_channels: of the images.
        """
        super().__init__()
        self.recompute = False
        self.stem = conv(in_channels, STEM_CHANNELS, 3)
        channels = STEM_CHANNELS
        for index, (out_channels, units) in enumerate(STAGES, 1):
            stage = nn.Sequential(
                conv(channels, out_channels, 3, 2),
                *(ResidualUnit(conv, out_channels) for _ in range(units)),
            )
            self.add_module(f"dark{index}", stage)
            channels = out_channels
        self._out_features = ["dark3", "dark4", "dark5"]
        self._out_feature_strides = {"dark3": 8, "dark4": 16, "dark5": 32}
        widths = [width for width, _ in STAGES[-3:]]
        self._out_feature_channels = dict(zip(self._out_features, widths, strict=True))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, in, H, W), multiples of 32, to the maps (N, D, H / stride, W / stride)."""
        x = recomputed(self.stem, x, part=self.stem, when=self.recompute)
        features = {}
        for index in range(1, len(STAGES) + 1):
            name = f"dark{index}"
            stage = self.get_submodule(name)
            features[name] = x = recomputed(stage, x, part=stage, when=self.recompute)
        return {name: features[name] for name in self._out_features}


class TinyDarknet(Backbone):
    """Seven 3x3 convolutions with pools between; outputs ``dark4`` and ``dark5``.

    Attributes:
        recompute: see ``bccd.modeling.capabilities``.
    """

    size_divisibility = 32

    def __init__(self, conv: Callable[..., Conv2d], in_channels: int = 3, zero_padding=False):
        """
        Args:
            conv: see :class:`Darknet`.
            in_channels: of the images.
            zero_padding: the last pool, of stride 1, sees zeros beyond the right and lower border,
                as in the later program; else nothing, as in Darknet.
        """
        super().__init__()
        self.recompute = False
        self.zero_padding = zero_padding
        channels = (in_channels, *TINY_CHANNELS)
        self.convs = nn.ModuleList(conv(before, after, 3) for before, after in pairwise(channels))
        self._out_features = ["dark4", "dark5"]
        self._out_feature_strides = {"dark4": 16, "dark5": 32}
        self._out_feature_channels = {"dark4": TINY_CHANNELS[4], "dark5": TINY_CHANNELS[6]}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, in, H, W), multiples of 32, to the maps (N, D, H / stride, W / stride)."""
        features = []
        for index, conv in enumerate(self.convs):
            x = recomputed(conv, x, part=conv, when=self.recompute)
            features.append(x)
            if index < 5:
                x = F.max_pool2d(x, 2)
            elif index == 5:
                x = F.max_pool2d(self._pad(x), 2, stride=1)
        return {"dark4": features[4], "dark5": features[6]}

    def _pad(self, x):
        # A maximum over what is there alone is that with the border repeated.
        return F.pad(x, (0, 1, 0, 1), mode="constant" if self.zero_padding else "replicate")


def conv_of(cfg: CfgNode) -> Callable[..., Conv2d]:
    """The convolution of ``MODEL.YOLOv3``, with its normalisation and activation."""
    node = cfg.MODEL.YOLOv3
    return partial(
        conv_norm,
        norm=node.NORM,
        activation=node.ACTIVATION,
        eps=node.NORM_EPS,
        momentum=node.NORM_MOMENTUM,
    )


@BACKBONE_REGISTRY.register()
def build_darknet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> Darknet:
    """Darknet-53 from MODEL.YOLOv3.{NORM,NORM_EPS,NORM_MOMENTUM,ACTIVATION,INIT}."""
    backbone = Darknet(conv_of(cfg), input_shape.channels)
    initialise(backbone, cfg.MODEL.YOLOv3.INIT)
    return backbone


@BACKBONE_REGISTRY.register()
def build_tiny_darknet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> TinyDarknet:
    """The backbone of YOLOv3-tiny; as :func:`build_darknet_backbone`, and TINY_ZERO_PADDING."""
    node = cfg.MODEL.YOLOv3
    backbone = TinyDarknet(conv_of(cfg), input_shape.channels, node.TINY_ZERO_PADDING)
    initialise(backbone, node.INIT)
    return backbone
