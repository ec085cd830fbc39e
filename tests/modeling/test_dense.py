"""The base of dense detectors, on a head whose outputs are given."""

import pytest
import torch
from detectron2.layers import ShapeSpec
from detectron2.modeling import Backbone
from detectron2.modeling.anchor_generator import DefaultAnchorGenerator
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.structures import Boxes, Instances
from torch import nn

from bccd.export.detector import exportable
from bccd.modeling.dense import SingleStageDetector
from bccd.modeling.dense_config import shared_arguments
from bccd.modeling.dense_predictions import DensePredictions, decode_batch, select_candidates

STRIDES = [8, 16]
SIZE = (32, 48)


class Pooling(Backbone):
    """Means of the image over cells of 8 and 16 pixels."""

    size_divisibility = 16

    def forward(self, x):
        return {f"p{s}": nn.functional.avg_pool2d(x, s) for s in STRIDES}

    def output_shape(self):
        return {f"p{s}": ShapeSpec(channels=3, stride=s) for s in STRIDES}


class Given(nn.Module):
    """The same outputs for every image: lists of (1, S, H, W) and (1, B, H, W)."""

    def __init__(self, logits, boxes):
        super().__init__()
        self.logits, self.boxes = logits, boxes

    def forward(self, features):
        count = len(features[0])
        return [[x.expand(count, -1, -1, -1) for x in maps] for maps in (self.logits, self.boxes)]


class Recording(SingleStageDetector):
    """Keeps what it is given to assign and to make losses of."""

    def assign(self, predictions, truths):
        self.assigned = predictions, truths, torch.is_grad_enabled()
        return "assigned"

    def losses(self, predictions, assigned, unlabelled):
        self.lost = assigned, unlabelled, torch.is_autocast_enabled("cpu")
        return {"loss": predictions.logits[0].sum()}


def maps(channels, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shapes = [(1, channels, SIZE[0] // s, SIZE[1] // s) for s in STRIDES]
    return [torch.randn(shape, generator=generator) for shape in shapes]


def make(logits=None, boxes=None, kind=Recording, **options):
    anchors = DefaultAnchorGenerator(
        sizes=[[2 * s] for s in STRIDES], aspect_ratios=[[1.0]], strides=STRIDES, offset=0.5
    )
    arguments = {
        "backbone": Pooling(),
        "head": Given(logits or maps(3), boxes or maps(4, seed=1)),
        "head_in_features": [f"p{s}" for s in STRIDES],
        "anchor_generator": anchors,
        "num_classes": 3,
        "score_threshold": 0.3,
        "topk_candidates": 10,
        "nms_threshold": 0.5,
        "max_detections": 20,
        "pixel_mean": [0.0] * 3,
        "pixel_std": [1.0] * 3,
        "box2box_transform": Box2BoxTransform((1.0, 1.0, 1.0, 1.0)),
    }
    return kind(**{**arguments, **options})


def sample(boxes=(), classes=()):
    instances = Instances(SIZE)
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    return {"image": torch.zeros(3, *SIZE), "instances": instances}


def test_candidates_are_the_best_pairs_above_the_threshold():
    scores = torch.tensor([[0.9, 0.2, 0.6], [0.3, 0.8, 0.1]])
    found = [x.tolist() for x in select_candidates(scores, 0.3, 3)]
    assert found == [pytest.approx([0.9, 0.8, 0.6]), [0, 1, 0], [0, 1, 2]]
    assert len(select_candidates(scores, 0.95, 3)[0]) == 0


def test_a_batch_is_decoded_as_its_rows():
    transform = Box2BoxTransform((1.0, 1.0, 1.0, 1.0))
    deltas, anchors = torch.randn(2, 5, 4), torch.rand(5, 4).cumsum(1)
    expected = torch.stack([transform.apply_deltas(image, anchors) for image in deltas])
    assert torch.equal(decode_batch(transform.apply_deltas, deltas, anchors), expected)
    each = anchors.expand(2, 5, 4)
    assert torch.equal(decode_batch(transform.apply_deltas, deltas, each), expected)


def test_training_hands_over_what_the_losses_need():
    model = make().train()
    batch = [sample([[2, 2, 20, 20], [5, 5, 5, 9]], [1, 0]), sample()]
    batch[0]["unlabelled"] = torch.tensor([True, False, False])
    batch[1]["unlabelled"] = torch.tensor([False, False, True])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(batch)["loss"].isfinite()
    predictions, truths, with_gradient = model.assigned
    assert isinstance(predictions, DensePredictions) and not with_gradient
    assert [len(truth) for truth in truths] == [1, 0]  # the box without area is left out
    assert [tuple(x.shape) for x in predictions.logits] == [(2, 24, 3), (2, 6, 3)]
    assert [len(x) for x in predictions.anchors] == [24, 6] and predictions.strides == STRIDES
    assigned, unlabelled, autocast = model.lost
    assert assigned == "assigned" and not autocast
    assert unlabelled.tolist() == [[True, False, False], [False, False, True]]
    model([sample()])
    assert model.lost[1] is None


def test_all_boxes_are_those_of_each_level():
    model = make()
    outputs = model.head([torch.zeros(2, 3, 1, 1)])
    features = list(model.backbone(torch.zeros(2, 3, *SIZE)).values())
    predictions = model.dense_predictions(features, outputs)
    found = model.decode_all(predictions)
    assert found.shape == (2, 30, 4)
    coarse = model.decode(predictions.boxes[1][0], predictions.anchors[1].tensor, STRIDES[1])
    assert torch.equal(found[0, 24:], coarse) and torch.equal(found[0], found[1])


class CornersInStrides(Recording):
    """Two more box outputs than are used, which are the corners in strides; objectness first."""

    box_outputs = 6

    @property
    def class_outputs(self):
        return self.num_classes + 1

    def scores(self, logits):
        return logits[..., :1].sigmoid() * logits[..., 1:].sigmoid()

    def decode(self, boxes, anchors, stride):
        return boxes[:, :4] * stride


@pytest.mark.parametrize("agnostic", [False, True])
def test_own_scores_and_boxes_and_both_kinds_of_suppression(agnostic):
    # Two cells of the coarse level predict nearly the same box, of class 0 and of class 1.
    logits, boxes = [torch.full_like(x, -9.0) for x in maps(4)], [0 * x for x in maps(6)]
    logits[1][0, :2, 0, 0] = 5.0
    logits[1][0, [0, 2], 0, 1] = 4.0
    boxes[1][0, :4, 0, :2] = torch.tensor([[0.0, 0], [0, 0], [1, 1], [1, 1.1]])
    model = make(logits, boxes, kind=CornersInStrides, class_agnostic_nms=agnostic).eval()
    found = model([sample()])[0]["instances"]
    assert found.pred_classes.tolist() == ([0] if agnostic else [0, 1])
    assert found.pred_boxes.tensor[0].tolist() == [0, 0, 16, 16]
    score = torch.tensor(5.0).sigmoid() ** 2
    torch.testing.assert_close(found.scores[0], score)
    with torch.no_grad():
        exported = exportable(model)(torch.zeros(1, *SIZE, 3, dtype=torch.uint8))
    kept = exported[1][0] >= 0
    torch.testing.assert_close(exported[0][0][kept], found.pred_boxes.tensor)
    assert torch.equal(exported[2][0][kept], found.pred_classes)


def test_a_wrong_value_names_its_key(cfg):
    cfg.MODEL.BACKBONE.NAME = "build_resnet_backbone"
    for key, value, message in (
        ("NUM_CLASSES", 0, r"MODEL\.SSD\.NUM_CLASSES is 0"),
        ("IN_FEATURES", ["p9"], r"MODEL\.SSD\.IN_FEATURES has \['p9'\].*'res4'"),
    ):
        cfg.MODEL.SSD.NUM_CLASSES = 3
        cfg.MODEL.SSD[key] = value
        with pytest.raises(ValueError, match=message):
            shared_arguments(cfg, "SSD")
