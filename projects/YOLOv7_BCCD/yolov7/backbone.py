"""Backbone and neck of YOLOv7 and YOLOv7-tiny, as one Detectron2 backbone."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.activation_checkpointing import recomputed
from bccd.modeling.layers import ACTIVATIONS, conv_norm
from bccd.projects.yolov7.blocks import ELAN, CSPPyramid, PoolAndStride, TinyCSPPyramid

MIN_WIDTH = 16  # see bccd.modeling.backbones.slim_resnet


@dataclass(frozen=True)
class Layout:
    """What differs between the forms.

    Attributes:
        stem: (channels, stride) of its 3x3 convolutions.
        stages: (width, output channels) of the ELAN of strides 4, 8, 16 and 32.
        taps: of these; see ELAN.
        neck_taps: of those of the neck.
        neck_ratio: their width and their hidden channels, relative to their output.
        levels: output channels at strides 8, 16 and 32.
        pools_and_strides: resolution is halved by PoolAndStride; else by max pooling in the
            backbone and by a strided convolution in the neck.
        pyramid: block that pools at several sizes.
    """

    stem: tuple[tuple[int, int], ...]
    stages: tuple[tuple[int, int], ...]
    taps: tuple[int, ...]
    neck_taps: tuple[int, ...]
    neck_ratio: tuple[float, float]
    levels: tuple[int, int, int]
    pools_and_strides: bool
    pyramid: Callable[..., nn.Module]


LAYOUTS = {
    "yolov7": Layout(
        stem=((32, 1), (64, 2), (64, 1), (128, 2)),
        stages=((64, 256), (128, 512), (256, 1024), (256, 1024)),
        taps=(2, 4),
        neck_taps=(1, 2, 3, 4),
        neck_ratio=(1.0, 0.5),
        levels=(128, 256, 512),
        pools_and_strides=True,
        pyramid=CSPPyramid,
    ),
    "tiny": Layout(
        stem=((32, 2), (64, 2)),
        stages=((32, 64), (64, 128), (128, 256), (256, 512)),
        taps=(1, 2),
        neck_taps=(1, 2),
        neck_ratio=(0.5, 0.5),
        levels=(64, 128, 256),
        pools_and_strides=False,
        pyramid=TinyCSPPyramid,
    ),
}


class YOLOv7Backbone(Backbone):
    """ELAN stages and a path aggregation network; outputs ``p3``, ``p4``, ``p5``, strides 8 to 32.

    Attributes:
        recompute: see ``bccd.modeling.capabilities``.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        width: float = 1.0,
        norm: str = "BN",
        activation: str = "silu",
        in_channels: int = 3,
    ) -> None:
        """
        Args:
            layout: one of LAYOUTS.
            width: factor of all numbers of channels, which become multiples of 8, at least 16.
            norm: as in ``detectron2.layers.get_norm``.
            activation: see ``bccd.modeling.layers``.
            in_channels: of the images.
        """
        super().__init__()
        self.recompute = False
        self._layout = layout
        self._conv = partial(conv_norm, norm=norm, activation=activation)
        self._scaled = lambda channels: max(round(channels * width / 8) * 8, MIN_WIDTH)
        levels = [self._scaled(channels) for channels in layout.levels]
        self._build_stages(in_channels)
        self._build_neck(*levels)
        self._out_features = ["p3", "p4", "p5"]
        self._out_feature_channels = dict(zip(self._out_features, levels, strict=True))
        self._out_feature_strides = {"p3": 8, "p4": 16, "p5": 32}
        del self._conv, self._scaled  # the model is copied and saved

    @property
    def size_divisibility(self) -> int:
        """Of what the height and width of images must be multiples: the neck adds doubled maps."""
        return 32

    def _build_stages(self, channels):
        layout, convs = self._layout, []
        for width, stride in layout.stem:
            convs.append(self._conv(channels, self._scaled(width), 3, stride))
            channels = self._scaled(width)
        self.stem, self.stages = nn.Sequential(*convs), nn.ModuleList()
        self._stage_channels = []
        for index, (width, out) in enumerate(layout.stages):
            width, out = self._scaled(width), self._scaled(out)
            halve = [] if index == 0 else [self._halve(channels)]
            elan = ELAN(self._conv, (channels, out), width=width, hidden=width, taps=layout.taps)
            self.stages.append(nn.Sequential(*halve, elan))
            self._stage_channels.append(out)
            channels = out

    def _halve(self, channels):
        if self._layout.pools_and_strides:
            return PoolAndStride(self._conv, channels, channels)
        return nn.MaxPool2d(2)

    def _build_neck(self, p3, p4, p5):
        _, c3, c4, c5 = self._stage_channels
        conv, down = self._conv, partial(self._conv, kernel_size=3, stride=2)
        if self._layout.pools_and_strides:
            down = partial(PoolAndStride, self._conv)
        self.pyramid = self._layout.pyramid(conv, c5, p5)
        self.up4, self.lateral4, self.merge4 = conv(p5, p4), conv(c4, p4), self._merge(2 * p4, p4)
        self.up3, self.lateral3, self.merge3 = conv(p4, p3), conv(c3, p3), self._merge(2 * p3, p3)
        self.down3, self.out4 = down(p3, p4), self._merge(2 * p4, p4)
        self.down4, self.out5 = down(p4, p5), self._merge(2 * p5, p5)

    def _merge(self, in_channels, out):
        width, hidden = (max(int(out * ratio), MIN_WIDTH) for ratio in self._layout.neck_ratio)
        taps = self._layout.neck_taps
        return ELAN(self._conv, (in_channels, out), width=width, hidden=hidden, taps=taps)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(N, 3, H, W), multiples of 32, to ``p3``, ``p4`` and ``p5``, (N, D, H / 8, W / 8) on."""
        maps = []
        x = self._run(self.stem, x)
        for stage in self.stages:
            x = self._run(stage, x)
            maps.append(x)
        _, c3, c4, c5 = maps
        n5 = self._run(self.pyramid, c5)
        n4 = self._run(self.merge4, _beside(self.lateral4(c4), self.up4(n5)))
        p3 = self._run(self.merge3, _beside(self.lateral3(c3), self.up3(n4)))
        p4 = self._run(self.out4, torch.cat([self._run(self.down3, p3), n4], dim=1))
        p5 = self._run(self.out5, torch.cat([self._run(self.down4, p4), n5], dim=1))
        return {"p3": p3, "p4": p4, "p5": p5}

    def _run(self, part, x):
        return recomputed(part, x, part=part, when=self.recompute)


def _beside(lateral, coarse):
    """The finer map and, behind it, the coarser one in twice its size."""
    return torch.cat([lateral, F.interpolate(coarse, scale_factor=2.0)], dim=1)


def _build(cfg, input_shape, layout):
    node = cfg.MODEL.YOLOv7
    if node.ACTIVATION not in ACTIVATIONS:
        raise ValueError(
            f"MODEL.YOLOv7.ACTIVATION is {node.ACTIVATION!r}; known: {', '.join(ACTIVATIONS)}"
        )
    if node.WIDTH <= 0:
        raise ValueError(f"MODEL.YOLOv7.WIDTH is {node.WIDTH}, must be above 0")
    return YOLOv7Backbone(
        layout,
        width=node.WIDTH,
        norm=node.NORM,
        activation=node.ACTIVATION,
        in_channels=input_shape.channels,
    )


@BACKBONE_REGISTRY.register()
def build_yolov7_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> YOLOv7Backbone:
    """YOLOv7's, from ``MODEL.YOLOv7.{WIDTH,NORM,ACTIVATION}``.

    Raises:
        ValueError: one of them has a value that cannot work.
    """
    return _build(cfg, input_shape, LAYOUTS["yolov7"])


@BACKBONE_REGISTRY.register()
def build_yolov7_tiny_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> YOLOv7Backbone:
    """YOLOv7-tiny's; see :func:`build_yolov7_backbone`."""
    return _build(cfg, input_shape, LAYOUTS["tiny"])
