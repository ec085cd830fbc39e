"""YOLOv8's body of C2f blocks and the path aggregation network on it."""

import math

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.nn import functional as F

from bccd.modeling.activation_checkpointing import recomputed
from bccd.modeling.layers import conv_norm
from bccd.projects.yolov8.blocks import SPPF, C2f

CHANNELS, REPEATS = (64, 128, 256, 512, 1024), (3, 6, 6, 3)


def scaled(depth: float, width: float, max_channels: int) -> tuple[list[int], list[int]]:
    """Channels of the stem and the stages, and bottlenecks of the stages, of a size of YOLOv8.

    Args:
        depth, width: factors of the bottlenecks and of the channels.
        max_channels: most channels of a stage, before the factor.

    Returns:
        five multiples of 8, and four numbers of at least 1.
    """
    channels = [8 * math.ceil(min(c, max_channels) * width / 8) for c in CHANNELS]
    return channels, [max(1, round(n * depth)) for n in REPEATS]


class C2fBackbone(Backbone):
    """A strided convolution, then four stages of a strided convolution and a C2f; SPPF at the end.

    Feature maps ``c2`` to ``c5``, of the strides 4 to 32.

    Attributes:
        recompute: see ``bccd.modeling.capabilities``.
    """

    recompute = False

    def __init__(
        self, channels: list[int], repeats: list[int], *, in_channels: int, norm: str
    ) -> None:
        """
        Args:
            channels, repeats: of :func:`scaled`.
            in_channels: of the image.
            norm: as in ``detectron2.layers.get_norm``.
        """
        super().__init__()
        self.stem = conv_norm(in_channels, channels[0], 3, 2, norm=norm)
        self.stages = nn.ModuleList()
        for before, after, count in zip(channels, channels[1:], repeats, strict=False):
            down = conv_norm(before, after, 3, 2, norm=norm)
            block = C2f(after, after, count, shortcut=True, norm=norm)
            self.stages.append(nn.Sequential(down, block))
        self.stages[-1].append(SPPF(channels[-1], norm=norm))
        self.channels = channels[1:]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (N, 3, H, W), H and W multiples of 32, to feature maps."""
        x = recomputed(self.stem, x, part=self.stem, when=self.recompute)
        maps = {}
        for level, stage in enumerate(self.stages, start=2):
            x = recomputed(stage, x, part=stage, when=self.recompute)
            maps[f"c{level}"] = x
        return maps

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map."""
        return {
            f"c{level}": ShapeSpec(channels=channels, stride=2**level)
            for level, channels in enumerate(self.channels, start=2)
        }

    @property
    def size_divisibility(self) -> int:
        """Of what the sides of images must be multiples."""
        return 32


class C2fPAN(Backbone):
    """Path aggregation network (arXiv 1803.01534) of C2f blocks, from coarse to fine and back.

    Feature maps ``p3`` to ``p5``, of the strides 8 to 32.
    """

    def __init__(self, bottom_up: C2fBackbone, repeats: int, *, norm: str) -> None:
        """
        Args:
            bottom_up: its last three feature maps are aggregated.
            repeats: bottlenecks of each C2f.
            norm: as in ``detectron2.layers.get_norm``.
        """
        super().__init__()
        c3, c4, c5 = bottom_up.channels[1:]
        options = {"shortcut": False, "norm": norm}
        self.bottom_up = bottom_up
        self.to_finer = nn.ModuleList(
            [C2f(c5 + c4, c4, repeats, **options), C2f(c4 + c3, c3, repeats, **options)]
        )
        self.down = nn.ModuleList(
            [conv_norm(c3, c3, 3, 2, norm=norm), conv_norm(c4, c4, 3, 2, norm=norm)]
        )
        self.to_coarser = nn.ModuleList(
            [C2f(c3 + c4, c4, repeats, **options), C2f(c4 + c5, c5, repeats, **options)]
        )

    @property
    def recompute(self) -> bool:
        """See ``bccd.modeling.capabilities``."""
        return self.bottom_up.recompute

    @recompute.setter
    def recompute(self, value: bool) -> None:
        self.bottom_up.recompute = value

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Images (N, 3, H, W), H and W multiples of 32, to feature maps."""
        maps = self.bottom_up(x)
        finer = maps["c5"]
        down_path = [finer]
        for block, name in zip(self.to_finer, ("c4", "c3"), strict=True):
            finer = F.interpolate(finer, scale_factor=2.0, mode="nearest")
            finer = self._merge(block, finer, maps[name])
            down_path.append(finer)
        found = [down_path.pop()]
        for down, block in zip(self.down, self.to_coarser, strict=True):
            found.append(self._merge(block, down(found[-1]), down_path.pop()))
        return dict(zip(("p3", "p4", "p5"), found, strict=True))

    def _merge(self, block, *maps):
        return recomputed(lambda *x: block(torch.cat(x, 1)), *maps, part=block, when=self.recompute)

    def output_shape(self) -> dict[str, ShapeSpec]:
        """Channels and stride of each feature map."""
        shapes = self.bottom_up.output_shape()
        return {f"p{level}": shapes[f"c{level}"] for level in (3, 4, 5)}

    @property
    def size_divisibility(self) -> int:
        """Of what the sides of images must be multiples."""
        return self.bottom_up.size_divisibility


@BACKBONE_REGISTRY.register()
def build_yolov8_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> C2fBackbone:
    """:class:`C2fBackbone` of ``MODEL.YOLOv8.{DEPTH,WIDTH,MAX_CHANNELS,NORM}``."""
    yolo = cfg.MODEL.YOLOv8
    channels, repeats = scaled(yolo.DEPTH, yolo.WIDTH, yolo.MAX_CHANNELS)
    return C2fBackbone(channels, repeats, in_channels=input_shape.channels, norm=yolo.NORM)


@BACKBONE_REGISTRY.register()
def build_yolov8_pan_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> C2fPAN:
    """:class:`C2fPAN` on :func:`build_yolov8_backbone`."""
    yolo = cfg.MODEL.YOLOv8
    _, repeats = scaled(yolo.DEPTH, yolo.WIDTH, yolo.MAX_CHANNELS)
    return C2fPAN(build_yolov8_backbone(cfg, input_shape), repeats[-1], norm=yolo.NORM)
