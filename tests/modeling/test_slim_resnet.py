"""The slim ResNet: shapes, widths and the keys of Detectron2's own builder."""

import pytest
import torch
from detectron2.config import get_cfg
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, build_resnet_backbone

from bccd.modeling.backbones.slim_resnet import (
    build_slim_resnet_backbone,
    build_slim_resnet_fpn_backbone,
)


def make_cfg(depth=18, width=16):
    cfg = get_cfg()
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.DEPTH = depth
    cfg.MODEL.RESNETS.NORM = "BN"
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = width
    cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = width
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    return cfg


def build(builder, cfg):
    return builder(cfg, ShapeSpec(channels=3))


def test_both_builders_are_registered():
    for builder in (build_slim_resnet_backbone, build_slim_resnet_fpn_backbone):
        assert BACKBONE_REGISTRY.get(builder.__name__) is builder


@pytest.mark.parametrize("depth", [18, 34])
def test_levels_have_the_promised_strides_and_channels(depth):
    backbone = build(build_slim_resnet_fpn_backbone, make_cfg(depth))
    features = backbone(torch.rand(2, 3, 64, 96))
    assert list(features) == ["p2", "p3", "p4", "p5", "p6"]
    for name, shape in backbone.output_shape().items():
        stride = 2 ** int(name[1])
        assert (shape.stride, shape.channels) == (stride, 16)
        assert features[name].shape == (2, 16, 64 // stride, -(-96 // stride))


def test_levels_start_where_the_config_says():
    cfg = make_cfg()
    cfg.MODEL.RESNETS.OUT_FEATURES = cfg.MODEL.FPN.IN_FEATURES = ["res3", "res4"]
    backbone = build(build_slim_resnet_fpn_backbone, cfg)
    assert list(backbone(torch.rand(1, 3, 32, 32))) == ["p3", "p4"]
    assert not hasattr(backbone.bottom_up, "res5")


def test_at_full_width_it_is_detectron2s_resnet():
    cfg = make_cfg(width=64)
    ours = build(build_slim_resnet_backbone, cfg)
    theirs = build(build_resnet_backbone, cfg)
    theirs.load_state_dict(ours.state_dict())
    ours.eval(), theirs.eval()
    image = torch.rand(1, 3, 64, 64)
    for name, feature in ours(image).items():
        torch.testing.assert_close(feature, theirs(image)[name])


def test_freezing_and_depth_follow_the_config():
    cfg = make_cfg()
    cfg.MODEL.BACKBONE.FREEZE_AT = 2
    backbone = build(build_slim_resnet_backbone, cfg)
    frozen = {name.split(".")[0] for name, p in backbone.named_parameters() if not p.requires_grad}
    assert frozen == {"stem", "res2"}
    with pytest.raises(ValueError, match=r"MODEL\.RESNETS\.DEPTH is 50"):
        build(build_slim_resnet_backbone, make_cfg(depth=50))
    with pytest.raises(ValueError, match=r"RES2_OUT_CHANNELS is 8; use at least 16"):
        build(build_slim_resnet_backbone, make_cfg(width=8))


def test_a_dilated_last_stage_keeps_the_stride_and_the_weights():
    cfg = make_cfg()
    plain = build(build_slim_resnet_backbone, cfg)
    cfg.MODEL.RESNETS.RES5_DILATION = 2
    dilated = build(build_slim_resnet_backbone, cfg)
    dilated.load_state_dict(plain.state_dict())
    assert dilated.output_shape()["res5"].stride == 16
    assert dilated(torch.rand(1, 3, 64, 96))["res5"].shape == (1, 128, 4, 6)
    assert {m.dilation for m in dilated.res5.modules() if hasattr(m, "dilation")} == {
        (1, 1),
        (2, 2),
    }
    cfg.MODEL.RESNETS.RES5_DILATION = 3
    with pytest.raises(ValueError, match=r"RES5_DILATION is 3; use 1 or 2"):
        build(build_slim_resnet_backbone, cfg)
