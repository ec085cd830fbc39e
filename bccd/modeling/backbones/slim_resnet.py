"""ResNet-18/34 of any width with a feature pyramid, small enough to train on a CPU."""

from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, ResNet
from detectron2.modeling.backbone.fpn import FPN, LastLevelMaxPool
from detectron2.modeling.backbone.resnet import BasicBlock, BasicStem

BLOCKS_PER_STAGE = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
# With fewer, oneDNN's backward pass of a strided 1 x 1 convolution in channels-last memory writes
# past its buffers (PyTorch 2.11, several threads, an odd batch): the process crashes.
MIN_WIDTH = 16


class DilatedBasicBlock(BasicBlock):
    """Detectron2's ``BasicBlock``, whose 3x3 convolutions may be dilated, as of its bottlenecks."""

    def __init__(self, *args: Any, dilation: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for conv in (self.conv1, self.conv2):
            conv.padding = conv.dilation = (dilation, dilation)


@BACKBONE_REGISTRY.register()
def build_slim_resnet_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> ResNet:
    """Basic-block ResNet (arXiv 1512.03385, table 1) of free width.

    As Detectron2's ``build_resnet_backbone``, which insists on 64 channels and no dilation for
    these depths. Reads ``MODEL.RESNETS.{DEPTH,STEM_OUT_CHANNELS,RES2_OUT_CHANNELS,NORM}``,
    ``MODEL.RESNETS.{RES5_DILATION,OUT_FEATURES}`` and ``MODEL.BACKBONE.FREEZE_AT``; the channels
    double from stage to stage. With a dilation of 2, res5 has a stride of 16 instead of 32.

    Raises:
        ValueError: MODEL.RESNETS.DEPTH is neither 18 nor 34, RES5_DILATION neither 1 nor 2, or
            RES2_OUT_CHANNELS is below 16.
    """
    resnet = cfg.MODEL.RESNETS
    if resnet.DEPTH not in BLOCKS_PER_STAGE:
        raise ValueError(
            f"MODEL.RESNETS.DEPTH is {resnet.DEPTH}; the slim ResNet has 18 or 34 layers "
            "(build_resnet_fpn_backbone builds the deeper ones)"
        )
    if resnet.RES2_OUT_CHANNELS < MIN_WIDTH:
        raise ValueError(
            f"MODEL.RESNETS.RES2_OUT_CHANNELS is {resnet.RES2_OUT_CHANNELS}; "
            f"use at least {MIN_WIDTH}"
        )
    if resnet.RES5_DILATION not in (1, 2):
        raise ValueError(f"MODEL.RESNETS.RES5_DILATION is {resnet.RES5_DILATION}; use 1 or 2")
    stem = BasicStem(input_shape.channels, resnet.STEM_OUT_CHANNELS, resnet.NORM)
    in_channels, out_channels = resnet.STEM_OUT_CHANNELS, resnet.RES2_OUT_CHANNELS
    stages = []
    for index, blocks in enumerate(BLOCKS_PER_STAGE[resnet.DEPTH]):
        dilation = resnet.RES5_DILATION if index == 3 else 1
        first_stride = 1 if index == 0 or dilation == 2 else 2
        stages.append(
            ResNet.make_stage(
                DilatedBasicBlock,
                blocks,
                stride_per_block=[first_stride] + [1] * (blocks - 1),
                in_channels=in_channels,
                out_channels=out_channels,
                norm=resnet.NORM,
                dilation=dilation,
            )
        )
        in_channels, out_channels = out_channels, 2 * out_channels
    return ResNet(
        stem, stages, out_features=resnet.OUT_FEATURES, freeze_at=cfg.MODEL.BACKBONE.FREEZE_AT
    )


@BACKBONE_REGISTRY.register()
def build_slim_resnet_fpn_backbone(cfg: CfgNode, input_shape: ShapeSpec) -> FPN:
    """Feature pyramid (arXiv 1612.03144) on :func:`build_slim_resnet_backbone`.

    Reads ``MODEL.FPN.*`` as Detectron2's ``build_resnet_fpn_backbone``: levels ``p2`` (stride 4)
    and coarser for the stages in IN_FEATURES, and ``p6`` by pooling where res5 is among them.
    """
    fpn = cfg.MODEL.FPN
    return FPN(
        bottom_up=build_slim_resnet_backbone(cfg, input_shape),
        in_features=fpn.IN_FEATURES,
        out_channels=fpn.OUT_CHANNELS,
        norm=fpn.NORM,
        top_block=LastLevelMaxPool() if "res5" in fpn.IN_FEATURES else None,
        fuse_type=fpn.FUSE_TYPE,
    )
