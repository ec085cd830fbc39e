import copy
import math
import subprocess
from pathlib import Path

import pytest
import torch
import torchvision
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from bccd.modeling.dense_predictions import DensePredictions
from bccd.projects.ssd.head import SSDHead

ROOT = Path(__file__).parents[2]
SIZE = (96, 128)
LOSS_NAMES = {
    "focal_giou_l1": {"loss_cls", "loss_giou", "loss_l1"},
    "multibox": {"loss_cls", "loss_smooth_l1"},
}


TINY = """
META_ARCHITECTURE: SSD
PIXEL_STD: [57.375, 57.12, 58.395]
BACKBONE: {NAME: build_slim_resnet_fpn_backbone, FREEZE_AT: 0}
RESNETS: {DEPTH: 18, STEM_OUT_CHANNELS: 16, RES2_OUT_CHANNELS: 16, NORM: BN}
FPN: {IN_FEATURES: [res3, res4], OUT_CHANNELS: 16, NORM: BN}
ANCHOR_GENERATOR:
  NAME: SSDDefaultBoxes
  OFFSET: 0.5
  SIZES: [[16, 32], [32, 64]]
  ASPECT_RATIOS: [[1.0], [1.0, 0.5, 2.0]]
SSD: {IN_FEATURES: [p3, p4], NUM_CONVS: 1, NORM: BN}
"""


@pytest.fixture
def tiny(cfg):
    """SSD on a backbone of 8 channels, for images of 96 x 128."""
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res3", "res4"]
    return merge(cfg, TINY)


def merge(cfg, model):
    cfg.MODEL.merge_from_other_cfg(CfgNode.load_cfg(model))
    return cfg


def build(cfg, seed=0):
    torch.manual_seed(seed)
    return build_model(cfg)


def image(boxes, classes, seed=0):
    """A model input with bright rectangles, one brightness a class, on a dark noisy ground."""
    pixels = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(seed)) * 5 + 40
    instances = Instances(SIZE)
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    for (x0, y0, x1, y1), k in zip(instances.gt_boxes.tensor.int().tolist(), classes, strict=True):
        pixels[k, y0:y1, x0:x1] = 250
    return {"image": pixels, "instances": instances, "height": SIZE[0], "width": SIZE[1]}


TRUTH = ([[10, 10, 42, 44], [60, 30, 84, 50], [90, 60, 122, 90]], [0, 1, 2])


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_training_on_one_image_finds_its_objects(tiny, loss):
    tiny.MODEL.SSD.LOSS = loss
    model = build(tiny).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    batch = [image(*TRUTH), image(*TRUTH, seed=1)]
    history = []
    for _ in range(60):
        losses = model(batch)
        assert losses.keys() == LOSS_NAMES[loss]
        history.append(sum(losses.values()).item())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert history[-1] < 0.3 * history[0]
    found = model.eval()(batch[:1])[0]["instances"]
    best = found[:3]
    order = best.pred_classes.argsort()
    assert best.pred_classes[order].tolist() == [0, 1, 2]
    assert torch.allclose(best.pred_boxes.tensor[order], torch.tensor(TRUTH[0]).float(), atol=5)


class PerfectHead(torch.nn.Module):
    """Logits and deltas of the ground truth, laid out as the convolutions give them."""

    def __init__(self, model, truth, background):
        super().__init__()
        self.model, self.truth, self.background = [model], truth, background

    def forward(self, features):
        model = self.model[0]
        levels = model.anchor_generator(features)
        predictions = DensePredictions([], [], levels, [])
        assigned = model.assign(predictions, [self.truth])
        labels, targets = assigned.classes, assigned.boxes
        counts = [len(level) for level in levels]
        outputs = [], []
        for x, level, label, target, cells in zip(
            features,
            levels,
            labels[0].split(counts),
            targets[0].split(counts),
            model.anchor_generator.num_anchors,
            strict=True,
        ):
            # Background targets have no area: any box will do, its score keeps it out.
            target = torch.where((label < 3)[:, None], target, level.tensor)
            deltas = model.box2box_transform.get_deltas(level.tensor, target)
            logits = 20 * torch.nn.functional.one_hot(label, 4).float() - 10
            logits = logits if self.background else logits[:, :3]
            for output, values in zip(outputs, (logits, deltas), strict=True):
                values = values.reshape(1, *x.shape[-2:], cells * values.shape[1])
                output.append(values.permute(0, 3, 1, 2))
        return outputs


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_perfect_predictions_give_the_ground_truth(tiny, loss):
    tiny.MODEL.SSD.LOSS = loss
    model = build(tiny).eval()
    # The last one is a speck that no default box overlaps by half.
    sample = image([*TRUTH[0], [2, 80, 5, 84]], [*TRUTH[1], 2])
    truth = sample["instances"]
    model.head = PerfectHead(model, truth, background=loss == "multibox")
    # The output is asked for at twice the size.
    found = model([{**sample, "height": 192, "width": 256}])[0]["instances"]
    assert found.image_size == (192, 256)
    assert len(found) == 4
    assert found.scores.min() > 0.99
    order = found.pred_boxes.tensor[:, 0].argsort()
    expected = truth.gt_boxes.tensor[:, 0].argsort()
    assert torch.allclose(
        found.pred_boxes.tensor[order] / 2, truth.gt_boxes.tensor[expected], atol=1e-2
    )
    assert found.pred_classes[order].tolist() == truth.gt_classes[expected].tolist()
    model.train()
    losses = model([sample])
    assert sum(losses.values()) < 0.01


@pytest.mark.parametrize(
    "truths", [[([], []), ([], [])], [([], []), TRUTH], [([[5, 5, 5, 9]], [0]), TRUTH]]
)
def test_multibox_with_empty_half_empty_and_degenerate_ground_truth(tiny, truths):
    tiny.MODEL.SSD.LOSS = "multibox"
    model = build(tiny).train()
    losses = model([image(*truth) for truth in truths])
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    for parameter in model.parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all()


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_non_finite_pixels_do_not_crash_inference_by_softmax(tiny, value):
    tiny.MODEL.SSD.LOSS = "multibox"
    model = build(tiny).eval()
    broken = {**image(*TRUTH), "image": torch.full((3, *SIZE), value)}
    results = model([broken, image(*TRUTH)])
    for result in results:
        instances = result["instances"]
        assert instances.pred_boxes.tensor.isfinite().all() and instances.scores.isfinite().all()


def test_one_broken_box_leaves_the_others(tiny):
    model = build(tiny).eval()
    sample = image(*TRUTH)
    perfect = PerfectHead(model, sample["instances"], background=False)

    def head(features):
        logits, deltas = perfect(features)
        logits[0][0, :, 0, 0], deltas[0][0, :, 0, 0] = 9.0, math.nan
        return logits, deltas

    del model.head
    model.head = head
    assert len(model([sample])[0]["instances"]) == 3


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_autocast_keeps_losses_in_fp32(tiny, loss):
    tiny.MODEL.SSD.LOSS = loss
    model = build(tiny).train()
    exact = copy.deepcopy(model)([image(*TRUTH), image([], [])])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model([image(*TRUTH), image([], [])])
        detections = copy.deepcopy(model).eval()([image(*TRUTH)])[0]["instances"]
    assert all(value.dtype == torch.float32 for value in losses.values())
    for name, value in losses.items():
        assert value.item() == pytest.approx(exact[name].item(), rel=0.1)
    assert detections.scores.dtype == torch.float32


def test_detections_obey_threshold_nms_and_cap(tiny):
    tiny.MODEL.SSD.SCORE_THRESH_TEST = 0.3
    tiny.TEST.DETECTIONS_PER_IMAGE = 7
    model = build(tiny).eval()
    with torch.no_grad():
        for branch in model.head.class_branches:
            torch.nn.init.normal_(branch[-1].weight, std=0.5)
    found = model([image(*TRUTH)])[0]["instances"]
    assert len(found) == 7
    assert found.scores.min() > 0.3
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)
    iou = torchvision.ops.box_iou(found.pred_boxes.tensor, found.pred_boxes.tensor)
    iou.fill_diagonal_(0)
    same = found.pred_classes[:, None] == found.pred_classes
    assert iou[same].max() <= tiny.MODEL.SSD.NMS_THRESH_TEST


def test_scores_start_at_the_prior_and_the_head_follows_the_shapes():
    shapes = [ShapeSpec(channels=8, stride=8), ShapeSpec(channels=16, stride=16)]
    head = SSDHead(shapes, [2, 4], 3, num_convs=1, prior=0.01)
    scores, deltas = head([torch.zeros(2, 8, 5, 6), torch.zeros(2, 16, 3, 3)])
    assert [tuple(s.shape) for s in scores] == [(2, 6, 5, 6), (2, 12, 3, 3)]
    assert [tuple(d.shape) for d in deltas] == [(2, 8, 5, 6), (2, 16, 3, 3)]
    assert torch.allclose(scores[0].sigmoid(), torch.tensor(0.01))


def test_config_errors_name_the_key(tiny):
    for key, value, message in [
        ("MODEL.SSD.LOSS", "l2", r'MODEL\.SSD\.LOSS is "l2".*multibox'),
        ("MODEL.SSD.NUM_CLASSES", 0, r"MODEL\.SSD\.NUM_CLASSES is 0"),
        ("MODEL.SSD.IN_FEATURES", ["p3", "p9"], r"IN_FEATURES has \['p9'\].*'p4'"),
    ]:
        broken = tiny.clone()
        broken.merge_from_list([key, value])
        with pytest.raises(ValueError, match=message):
            build(broken)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL.SSD.QUALITY_SCORES", True),
        ("MODEL.MISSING_LABELS.ENABLED", True),
        ("INPUT.UNLABELLED_IF_ABSENT", ("RBC",)),
    ],
)
def test_multibox_refuses_what_it_does_not_read(tiny, key, value):
    opts = ["INPUT.UNLABELLED_IF_ABSENT", (), "MODEL.SSD.QUALITY_SCORES", False]
    tiny.merge_from_list([*opts, "MODEL.SSD.LOSS", "multibox"])
    build(tiny)
    tiny.merge_from_list([key, value])
    with pytest.raises(ValueError, match=rf"{key} is .* effect without MODEL\.SSD\.LOSS focal"):
        build(tiny)


@pytest.mark.parametrize("name", ["ssd300_vgg16_bccd", "ssd512_vgg16_bccd"])
def test_images_are_resized_to_what_the_backbone_is_made_for(cfg, name):
    cfg.merge_from_file(str(ROOT / f"configs/SSD/{name}.yaml"))
    assert tuple(cfg.INPUT.FIXED_SIZE) == (cfg.MODEL.VGG.INPUT_SIZE,) * 2


def test_a_backbone_of_detectron2(tiny):
    merge(
        tiny,
        """
        BACKBONE: {NAME: build_retinanet_resnet_fpn_backbone}
        RESNETS: {DEPTH: 50, STEM_OUT_CHANNELS: 64, RES2_OUT_CHANNELS: 256}
        FPN: {IN_FEATURES: [res3, res4, res5], OUT_CHANNELS: 32}
        ANCHOR_GENERATOR:
          SIZES: [[16, 32], [32, 64], [64]]
          ASPECT_RATIOS: [[1.0], [1.0, 2.0], [1.0]]
        SSD: {IN_FEATURES: [p3, p4, p7]}
        """,
    )
    tiny.MODEL.RESNETS.OUT_FEATURES = ["res3", "res4", "res5"]
    tiny.MODEL.SSD.NORM = ""
    losses = build(tiny).train()([image(*TRUTH)])
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.slow
def test_converter_writes_weights_that_load(tmp_path, warm_python):
    source, target = tmp_path / "vgg16.pth", tmp_path / "ssd.pth"
    state = torchvision.models.vgg16(init_weights=False).state_dict()
    torch.save(state, source)
    command = [
        warm_python.executable,
        str(ROOT / "tools/convert_vgg16.py"),
        str(source),
        str(target),
    ]
    subprocess.run(command, check=True)
    weights = torch.load(target, weights_only=True)["model"]
    assert torch.equal(weights["backbone.conv5_3.weight"], state["features.28.weight"])
    assert len(weights) == 2 * 15
