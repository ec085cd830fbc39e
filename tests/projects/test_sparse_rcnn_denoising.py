"""Denoising proposals of Sparse R-CNN."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from torchvision.ops import box_iou

from bccd.projects.sparse_rcnn.denoising import displaced_truth

CONFIG = "configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml"


def truth(*boxes, size=(64, 96)):
    return Instances(
        size,
        gt_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).view(-1, 4)),
        gt_classes=torch.ones(len(boxes), dtype=torch.int64),
    )


def test_copies_lie_near_their_truth_and_padding_belongs_to_none():
    instances = [truth([10, 10, 30, 20], [50, 10, 60, 40]), truth(), truth([0, 0, 9, 9])]
    boxes, matched = displaced_truth(instances, copies=50, noise=0.4)
    assert boxes.shape == (3, 100, 4)
    assert matched[0].tolist() == [0, 1] * 50
    assert (matched[1] == -1).all() and matched[2].tolist() == [0, -1] * 50
    gt_boxes = instances[0].gt_boxes.tensor[matched[0]]
    overlap = box_iou(boxes[0], gt_boxes).diagonal()
    assert overlap.min() > 0.2 and overlap.max() < 1 and overlap.std() > 0.05
    still, _ = displaced_truth(instances, copies=1, noise=0.0)
    torch.testing.assert_close(still[0], instances[0].gt_boxes.tensor)


def test_nothing_to_displace():
    boxes, matched = displaced_truth([truth(), truth()], copies=2, noise=0.4)
    assert boxes.shape == (2, 0, 4) and matched.shape == (2, 0)


@pytest.fixture
def model(cfg, request):
    cfg.merge_from_file(str(request.config.rootpath / CONFIG))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
    cfg.MODEL.FPN.OUT_CHANNELS = cfg.MODEL.SparseRCNN.HIDDEN_DIM = 16
    cfg.MODEL.SparseRCNN.DENOISING_COPIES = 2
    torch.manual_seed(0)
    return build_model(cfg)


@pytest.mark.parametrize("boxes", [[], [[8, 8, 30, 30], [40, 20, 70, 50]]])
def test_every_parameter_trains_with_any_number_of_boxes(model, boxes):
    image = torch.zeros(3, 64, 96, dtype=torch.uint8)
    inputs = [{"image": image, "instances": truth(*b)} for b in (boxes, [])]
    losses = model.train()(inputs)
    assert {"loss_ce_dn", "loss_bbox_dn", "loss_giou_dn"} <= set(losses)
    sum(losses.values()).backward()
    assert model.denoising_feature.weight.grad is not None
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_padding_costs_nothing_and_boxes_in_place_have_no_box_loss(model):
    instances = [truth([8, 8, 30, 30], [40, 20, 70, 50]), truth()]
    boxes = torch.stack([instances[0].gt_boxes.tensor, torch.zeros(2, 4)]).expand(3, 2, 2, 4)
    logits = torch.zeros(3, 2, 2, 3, requires_grad=True)
    matched = torch.tensor([[0, 1], [-1, -1]])
    losses = model.criterion.of_known_pairs(logits, boxes, instances, matched)
    assert losses["loss_bbox_dn"] == 0 and abs(losses["loss_giou_dn"]) < 1e-5
    losses["loss_ce_dn"].backward()
    assert (logits.grad[:, 0] != 0).all() and (logits.grad[:, 1] == 0).all()
