"""Dense head of Sparse R-CNN: its losses and its two uses."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from bccd.modeling.capabilities import has_fixed_number
from bccd.projects.sparse_rcnn.dense import DenseHead

CONFIG = "configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml"


@pytest.fixture
def tiny_cfg(cfg, request):
    cfg.merge_from_file(str(request.config.rootpath / CONFIG))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
    cfg.MODEL.FPN.OUT_CHANNELS = cfg.MODEL.SparseRCNN.HIDDEN_DIM = 16
    cfg.MODEL.SparseRCNN.NUM_PROPOSALS = 10
    cfg.MODEL.SparseRCNN.DIM_FEEDFORWARD = 32
    cfg.MODEL.SparseRCNN.DIM_DYNAMIC = 8
    cfg.MODEL.SparseRCNN.DENSE_WEIGHT = 1.0
    cfg.MODEL.SparseRCNN.PROPOSALS = "learnt"
    return cfg


def truth(boxes, classes, size=(64, 96)):
    return Instances(
        size,
        gt_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).view(-1, 4)),
        gt_classes=torch.tensor(classes, dtype=torch.int64),
    )


def image_with(boxes, classes):
    image = torch.randint(0, 256, (3, 64, 96), generator=torch.Generator().manual_seed(0))
    return {"image": image.to(torch.uint8), "instances": truth(boxes, classes)}


def test_dense_losses_fall_and_predictions_have_one_row_a_place():
    torch.manual_seed(0)
    head = DenseHead(channels=16, strides=[8, 16], num_classes=3, prior_prob=0.01)
    features = [torch.randn(2, 16, 8, 12), torch.randn(2, 16, 4, 6)]
    instances = [truth([[8, 8, 40, 40]], [1]), truth([], [])]
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    totals = []
    for _ in range(20):
        logits, boxes, embedded, peaks = head(features)
        losses = head.losses(logits, boxes, instances)
        totals.append(float(sum(losses.values()).detach()))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert logits.shape == (2, 8 * 12 + 4 * 6, 3) and boxes.shape == (2, 120, 4)
    assert embedded.shape == (2, 120, 16) and peaks.shape == (2, 120) and peaks.any(1).all()
    assert totals[-1] < 0.5 * totals[0]


@pytest.mark.parametrize("proposals", ["learnt", "dense"])
@pytest.mark.parametrize("boxes", [[], [[8, 8, 30, 30], [40, 20, 70, 50]]])
def test_every_parameter_trains(tiny_cfg, proposals, boxes):
    tiny_cfg.MODEL.SparseRCNN.PROPOSALS = proposals
    torch.manual_seed(0)
    model = build_model(tiny_cfg).train()
    losses = model([image_with(boxes, [1] * len(boxes)), image_with([], [])])
    assert {"loss_dense_ce", "loss_dense_giou", "loss_ce", "loss_ce_0"} <= set(losses)
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        if "fpn_output" in name or "bottom_up" in name:
            continue
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_learnt_proposals_do_not_need_the_dense_head_to_detect(tiny_cfg):
    torch.manual_seed(0)
    model = build_model(tiny_cfg).eval()
    with torch.no_grad():
        before = model([image_with([], [])])[0]["instances"]
        model.dense_head = None
        after = model([image_with([], [])])[0]["instances"]
    assert torch.equal(before.pred_boxes.tensor, after.pred_boxes.tensor)


def test_dense_proposals_are_the_best_peaks_and_their_number_is_free_at_inference(tiny_cfg):
    tiny_cfg.MODEL.SparseRCNN.PROPOSALS = "dense"
    torch.manual_seed(0)
    model = build_model(tiny_cfg).eval()
    logits = torch.tensor([[0.0, 5.0, 3.0, 4.0]])[..., None].expand(1, 4, 3)
    boxes = torch.arange(16.0).view(1, 4, 4)
    peaks = torch.tensor([[True, True, True, False]])
    model.num_proposals = 2
    best, features = model.best_of_dense(logits, boxes, torch.randn(1, 4, 16), peaks)
    assert torch.equal(best[0], boxes[0, [1, 2]])
    assert features.shape == (1, 2, 16)
    model.num_proposals = model.max_detections = 7
    with torch.no_grad():
        assert len(model([image_with([], [])])[0]["instances"]) == 7
        model.capacity = 2.0
        assert len(model([image_with([], [])])[0]["instances"]) == 14


def test_proposals_that_are_learnt_are_as_many_in_any_image(tiny_cfg):
    assert tiny_cfg.MODEL.SparseRCNN.PROPOSALS == "learnt"
    learnt = build_model(tiny_cfg)
    tiny_cfg.MODEL.SparseRCNN.PROPOSALS = "dense"
    dense = build_model(tiny_cfg)
    # Both crowd on an image that shows little; of a large one, the first needs small tiles.
    assert has_fixed_number(learnt) and has_fixed_number(dense)
    assert not hasattr(learnt, "capacity") and dense.capacity == 1.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("INIT_BOXES", "centre"),
        ("PROPOSALS", "anchors"),
        ("DENSE_IN_FEATURES", ["p9"]),
        ("REPEAT_TRUTH", (2, 1)),
    ],
)
def test_options_that_do_not_fit_name_the_key(tiny_cfg, key, value):
    tiny_cfg.MODEL.SparseRCNN[key] = value
    with pytest.raises(ValueError, match=key):
        build_model(tiny_cfg)


def test_dense_proposals_without_their_loss_are_refused(tiny_cfg):
    tiny_cfg.MODEL.SparseRCNN.PROPOSALS = "dense"
    tiny_cfg.MODEL.SparseRCNN.DENSE_WEIGHT = 0.0
    with pytest.raises(ValueError, match="DENSE_WEIGHT"):
        build_model(tiny_cfg)


def test_grid_of_boxes_covers_the_image(tiny_cfg):
    tiny_cfg.MODEL.SparseRCNN.INIT_BOXES = "grid"
    boxes = build_model(tiny_cfg).init_proposal_boxes.weight
    assert boxes.shape == (10, 4) and len(boxes.unique(dim=0)) == 10
    assert (boxes[:, 2:] == 0.2).all()
    assert boxes[:, :2].min() == 0.125 and boxes[:, :2].max() == 0.875
