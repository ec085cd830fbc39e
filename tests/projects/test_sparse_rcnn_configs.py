"""The configs, the published yaml keys and the published parameter names."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

CONFIGS = Path(__file__).parents[2] / "configs/SparseRCNN"

# The keys of the published project's yaml files for ResNet-50 with 100 proposals.
PUBLISHED_YAML = """
MODEL:
  META_ARCHITECTURE: "SparseRCNN"
  WEIGHTS: "detectron2://ImageNetPretrained/torchvision/R-50.pkl"
  PIXEL_MEAN: [123.675, 116.280, 103.530]
  PIXEL_STD: [58.395, 57.120, 57.375]
  BACKBONE:
    NAME: "build_resnet_fpn_backbone"
  RESNETS:
    DEPTH: 50
    STRIDE_IN_1X1: False
    OUT_FEATURES: ["res2", "res3", "res4", "res5"]
  FPN:
    IN_FEATURES: ["res2", "res3", "res4", "res5"]
  ROI_HEADS:
    IN_FEATURES: ["p2", "p3", "p4", "p5"]
  ROI_BOX_HEAD:
    POOLER_TYPE: "ROIAlignV2"
    POOLER_RESOLUTION: 7
    POOLER_SAMPLING_RATIO: 2
  SparseRCNN:
    NUM_PROPOSALS: 100
    NUM_CLASSES: 80
SOLVER:
  IMS_PER_BATCH: 16
  BASE_LR: 0.000025
  STEPS: (210000, 250000)
  MAX_ITER: 270000
  WARMUP_FACTOR: 0.01
  WARMUP_ITERS: 1000
  WEIGHT_DECAY: 0.0001
  OPTIMIZER: "ADAMW"
  BACKBONE_MULTIPLIER: 1.0
  CLIP_GRADIENTS:
    ENABLED: True
    CLIP_TYPE: "full_model"
    CLIP_VALUE: 1.0
    NORM_TYPE: 2.0
INPUT:
  CROP:
    ENABLED: False
    TYPE: "absolute_range"
    SIZE: (384, 600)
  FORMAT: "RGB"
TEST:
  EVAL_PERIOD: 7330
DATALOADER:
  FILTER_EMPTY_ANNOTATIONS: False
VERSION: 2
"""

STAGE_SHAPES = {
    "self_attn.in_proj_weight": (768, 256),
    "self_attn.in_proj_bias": (768,),
    "self_attn.out_proj.weight": (256, 256),
    "self_attn.out_proj.bias": (256,),
    "inst_interact.dynamic_layer.weight": (32768, 256),
    "inst_interact.dynamic_layer.bias": (32768,),
    "inst_interact.norm1.weight": (64,),
    "inst_interact.norm1.bias": (64,),
    "inst_interact.norm2.weight": (256,),
    "inst_interact.norm2.bias": (256,),
    "inst_interact.out_layer.weight": (256, 12544),
    "inst_interact.out_layer.bias": (256,),
    "inst_interact.norm3.weight": (256,),
    "inst_interact.norm3.bias": (256,),
    "linear1.weight": (2048, 256),
    "linear1.bias": (2048,),
    "linear2.weight": (256, 2048),
    "linear2.bias": (256,),
    **{f"norm{i}.{kind}": (256,) for i in (1, 2, 3) for kind in ("weight", "bias")},
    **{f"{tower}.{i}.weight": (256, 256) for tower, i in [("cls_module", 0), ("reg_module", 0)]},
    **{
        f"{tower}.1.{kind}": (256,)
        for tower in ("cls_module", "reg_module")
        for kind in ("weight", "bias")
    },
    **{f"reg_module.{i}.weight": (256, 256) for i in (3, 6)},
    **{f"reg_module.{i}.{kind}": (256,) for i in (4, 7) for kind in ("weight", "bias")},
    "class_logits.weight": (80, 256),
    "class_logits.bias": (80,),
    "bboxes_delta.weight": (4, 256),
    "bboxes_delta.bias": (4,),
}


def published_cfg(cfg, tmp_path):
    path = tmp_path / "published.yaml"
    path.write_text(PUBLISHED_YAML)
    cfg.merge_from_file(str(path))
    return cfg


def test_defaults_are_the_published_ones(cfg):
    published = dict(
        NUM_CLASSES=80, NUM_PROPOSALS=300, NHEADS=8, DROPOUT=0.0, DIM_FEEDFORWARD=2048,
        ACTIVATION="relu", HIDDEN_DIM=256, NUM_CLS=1, NUM_REG=3, NUM_HEADS=6, NUM_DYNAMIC=2,
        DIM_DYNAMIC=64, CLASS_WEIGHT=2.0, GIOU_WEIGHT=2.0, L1_WEIGHT=5.0, DEEP_SUPERVISION=True,
        NO_OBJECT_WEIGHT=0.1, USE_FOCAL=True, ALPHA=0.25, GAMMA=2.0, PRIOR_PROB=0.01,
    )  # fmt: skip
    node = cfg.MODEL.SparseRCNN
    assert {key: node[key] for key in published} == published
    # What is ours starts switched off.
    assert node.INIT_BOXES == "image" and node.PROPOSALS == "learnt"
    assert node.DENSE_WEIGHT == node.SCORE_THRESH_TEST == node.DENOISING_COPIES == 0
    assert node.STAGES_TEST == 0
    assert not node.QUALITY_SCORES and node.REPEAT_TRUTH == ()


def test_published_yaml_gives_a_model_with_the_published_parameters(cfg, tmp_path):
    model = build_model(published_cfg(cfg, tmp_path))
    state = model.state_dict()
    names = {name for name in state if not name.startswith("backbone.")}
    expected = {"init_proposal_features.weight": (100, 256), "init_proposal_boxes.weight": (100, 4)}
    for stage in range(6):
        expected |= {f"head.head_series.{stage}.{n}": shape for n, shape in STAGE_SHAPES.items()}
    assert {name: tuple(state[name].shape) for name in names} == expected
    assert "backbone.bottom_up.res2.0.conv1.weight" in state
    assert "backbone.fpn_lateral2.weight" in state


def test_a_new_model_expects_rare_classes_and_leaves_boxes_where_they_are(cfg, tmp_path):
    cfg = published_cfg(cfg, tmp_path)
    cfg.MODEL.SparseRCNN.NUM_CLASSES = 4  # as many as box deltas: only class biases may change
    cfg.MODEL.SparseRCNN.NUM_HEADS = 2
    model = build_model(cfg)
    assert (model.init_proposal_boxes.weight == torch.tensor([0.5, 0.5, 1.0, 1.0])).all()
    for stage in model.head.head_series:
        torch.testing.assert_close(stage.class_logits.bias.sigmoid(), torch.full((4,), 0.01))
        assert not stage.bboxes_delta.weight.any() and not stage.bboxes_delta.bias.any()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_no_config_limits_detections_below_its_proposals(cfg, path):
    cfg.merge_from_file(str(path))
    assert cfg.TEST.DETECTIONS_PER_IMAGE == cfg.MODEL.SparseRCNN.NUM_PROPOSALS


def test_softmax_keeps_the_published_buffer(cfg):
    cfg.merge_from_file(str(CONFIGS / "sparse_rcnn_lite_bccd.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.SparseRCNN.USE_FOCAL = cfg.MODEL.SparseRCNN.QUALITY_SCORES = False
    cfg.MODEL.SparseRCNN.PROPOSALS = "learnt"
    for key, value in (
        ("INPUT.UNLABELLED_IF_ABSENT", ("RBC",)),
        ("MODEL.MISSING_LABELS.ENABLED", True),
    ):
        refused = cfg.clone()
        refused.INPUT.UNLABELLED_IF_ABSENT = ()
        refused.merge_from_list([key, value])
        with pytest.raises(
            ValueError, match=rf"{key} is .* effect without MODEL\.SparseRCNN\.USE_FOCAL"
        ):
            build_model(refused)
    cfg.INPUT.UNLABELLED_IF_ABSENT = ()
    model = build_model(cfg)
    weight = model.state_dict()["criterion.empty_weight"]
    torch.testing.assert_close(weight, torch.tensor([1.0, 1.0, 1.0, 0.1]))
    assert model.head.head_series[0].class_logits.out_features == 4


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("MODEL.SparseRCNN.HIDDEN_DIM", 64, "MODEL.FPN.OUT_CHANNELS"),
        ("MODEL.SparseRCNN.NHEADS", 7, "NHEADS 7 does not divide HIDDEN_DIM 96"),
        ("MODEL.SparseRCNN.ACTIVATION", "glu", "known: relu, gelu"),
        ("MODEL.SparseRCNN.NUM_DYNAMIC", 3, "NUM_DYNAMIC is 3"),
        ("MODEL.SparseRCNN.NUM_HEADS", 0, "NUM_HEADS is 0"),
        ("MODEL.SparseRCNN.STAGES_TEST", 4, "STAGES_TEST is 4"),
        ("MODEL.ROI_HEADS.IN_FEATURES", ["p9"], "IN_FEATURES"),
    ],
)
def test_options_that_do_not_fit_name_the_key(cfg, key, value, message):
    cfg.merge_from_file(str(CONFIGS / "sparse_rcnn_lite_bccd.yaml"))
    cfg.merge_from_list([key, value, "MODEL.DEVICE", "cpu"])
    with pytest.raises(ValueError, match=message):
        build_model(cfg)


def test_earlier_stages_are_refused_where_they_have_not_learnt_to_predict(cfg):
    cfg.merge_from_file(str(CONFIGS / "sparse_rcnn_lite_bccd.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.SparseRCNN.DEEP_SUPERVISION, cfg.MODEL.SparseRCNN.STAGES_TEST = False, 1
    with pytest.raises(ValueError, match="STAGES_TEST needs DEEP_SUPERVISION"):
        build_model(cfg)
