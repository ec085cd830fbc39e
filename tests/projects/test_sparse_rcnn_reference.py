"""Sparse R-CNN against a naive reference with the same weights."""

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from reference_sparse_rcnn import ReferenceSparseRCNN

SIZES = [(96, 128), (128, 96), (64, 110)]
COUNTS = [5, 0, 14]  # the last has more boxes than there are proposals


@pytest.fixture
def tiny_cfg(cfg):
    cfg.MODEL.META_ARCHITECTURE = "SparseRCNN"
    cfg.MODEL.BACKBONE.NAME = "build_slim_resnet_fpn_backbone"
    cfg.MODEL.BACKBONE.FREEZE_AT = 0
    cfg.MODEL.RESNETS.DEPTH = 18
    cfg.MODEL.RESNETS.NORM = "FrozenBN"
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
    cfg.MODEL.RESNETS.OUT_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.IN_FEATURES = ["res2", "res3", "res4", "res5"]
    cfg.MODEL.FPN.OUT_CHANNELS = 16
    cfg.MODEL.ROI_HEADS.IN_FEATURES = ["p2", "p3", "p4", "p5"]
    cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION = 7
    cfg.MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO = 2
    node = cfg.MODEL.SparseRCNN
    node.NUM_CLASSES, node.NUM_PROPOSALS, node.NUM_HEADS = 3, 9, 3
    node.HIDDEN_DIM, node.NHEADS, node.DIM_FEEDFORWARD, node.DIM_DYNAMIC = 16, 4, 24, 8
    return cfg


def make_inputs(seed=0):
    generator = torch.Generator().manual_seed(seed)
    inputs = []
    for (height, width), count in zip(SIZES, COUNTS, strict=True):
        corner = torch.rand(count, 2, generator=generator) * torch.tensor([width, height]) * 0.6
        side = torch.rand(count, 2, generator=generator) * 40 + 4
        instances = Instances((height, width))
        instances.gt_boxes = Boxes(torch.cat([corner, corner + side], dim=1))
        instances.gt_classes = torch.randint(0, 3, (count,), generator=generator)
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        inputs.append({"image": image, "instances": instances})
    return inputs


def make_pair(cfg, seed=0):
    """Our detector and the reference with the same weights, far from the start of a training."""
    torch.manual_seed(seed)
    model, reference = build_model(cfg), ReferenceSparseRCNN(cfg)
    with torch.no_grad():
        model.init_proposal_boxes.weight.uniform_(0.2, 0.7)
        for stage in model.head.head_series:
            torch.nn.init.xavier_uniform_(stage.bboxes_delta.weight, gain=0.5)
            stage.class_logits.bias.uniform_(-2, 1)
    reference.load_state_dict(model.state_dict(), strict=True)
    model.load_state_dict(reference.state_dict(), strict=True)
    return model, reference


@pytest.mark.parametrize("use_focal", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_training_losses_and_gradients_equal_the_reference(tiny_cfg, use_focal, seed):
    tiny_cfg.MODEL.SparseRCNN.USE_FOCAL = use_focal
    model, reference = make_pair(tiny_cfg, seed)
    inputs = make_inputs(seed)
    losses, expected = model.train()(inputs), reference.losses(inputs)
    assert set(losses) == set(expected)
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name], atol=1e-4, rtol=1e-4, msg=name)
    sum(losses.values()).backward()
    sum(expected.values()).backward()
    gradients = {name: param.grad for name, param in reference.named_parameters()}
    for name, param in model.named_parameters():
        theirs = gradients[name]  # None for a pyramid level that no box came from
        error = param.grad if theirs is None else param.grad - theirs
        assert error.norm() <= 2e-3 * param.grad.norm() + 1e-4, name


@pytest.mark.parametrize("use_focal", [True, False])
@pytest.mark.parametrize("seed", [0, 1])
def test_detections_equal_the_reference(tiny_cfg, use_focal, seed):
    tiny_cfg.MODEL.SparseRCNN.USE_FOCAL = use_focal
    model, reference = make_pair(tiny_cfg, seed)
    inputs = make_inputs(seed)
    with torch.no_grad():
        logits = [image[-1][0] for image in reference.predict(inputs)]
        boxes = [image[-1][1] for image in reference.predict(inputs)]
        results = model.eval().inference(torch.stack(logits), torch.stack(boxes), SIZES)
        outputs = model(inputs)
        expected = reference.detections(inputs)
    for result, output, wanted, size in zip(results, outputs, expected, SIZES, strict=True):
        assert len(result) == len(wanted) == tiny_cfg.MODEL.SparseRCNN.NUM_PROPOSALS
        scores, classes, boxes = zip(*wanted, strict=True)
        torch.testing.assert_close(result.scores, torch.tensor(scores), atol=1e-4, rtol=1e-4)
        assert result.pred_classes.tolist() == list(classes)
        torch.testing.assert_close(
            result.pred_boxes.tensor, torch.stack(boxes), atol=1e-3, rtol=1e-4
        )
        # End to end, boxes are clipped to the image and those outside it are left out.
        clipped = Boxes(torch.stack(boxes))
        clipped.clip(size)
        inside = clipped.nonempty()
        instances = output["instances"]
        torch.testing.assert_close(
            instances.pred_boxes.tensor, clipped.tensor[inside], atol=1e-3, rtol=1e-4
        )
        torch.testing.assert_close(
            instances.scores, torch.tensor(scores)[inside], atol=1e-4, rtol=1e-4
        )
        assert instances.pred_classes.tolist() == torch.tensor(classes)[inside].tolist()
