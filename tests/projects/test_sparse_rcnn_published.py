"""Ours against the published implementation that the benchmark times it against."""

import pytest
import torch
from detectron2.modeling import build_model
from test_sparse_rcnn_reference import COUNTS, SIZES, make_inputs, tiny_cfg  # noqa: F401

from bccd.engine.optimizer import build_optimizer
from bccd.projects.sparse_rcnn import published as reference


@pytest.fixture
def pair(tiny_cfg):  # noqa: F811
    """Our detector and the published one with the same weights, far from a training's start."""
    tiny_cfg.merge_from_list(reference.OPTIONS)
    torch.manual_seed(0)
    ours = build_model(tiny_cfg)
    with torch.no_grad():
        ours.init_proposal_boxes.weight.uniform_(0.2, 0.7)
        for stage in ours.head.head_series:
            torch.nn.init.xavier_uniform_(stage.bboxes_delta.weight, gain=0.5)
            stage.class_logits.bias.uniform_(-2, 1)
    published = reference.build_model(tiny_cfg)
    published.load_state_dict(ours.state_dict(), strict=True)
    return ours, published


def test_outputs_of_the_head_are_equal(pair):
    ours, published = (model.train() for model in pair)  # every stage predicts
    inputs = make_inputs()
    with torch.no_grad():
        maps = ours.backbone(ours.preprocess_image(inputs).tensor)
        features = [maps[name] for name in ours.in_features]
        arguments = (features, *ours.learnt_proposals(SIZES))
        for result, expected in zip(ours.head(*arguments), published.head(*arguments), strict=True):
            torch.testing.assert_close(result, expected, atol=1e-4, rtol=1e-4)


def test_detections_are_equal(pair):
    ours, published = (model.eval() for model in pair)
    inputs = make_inputs()
    with torch.inference_mode():
        results, expected = ours(inputs), published(inputs)
    for result, wanted in zip(results, expected, strict=True):
        result, wanted = result["instances"], wanted["instances"]
        assert len(result) > 0
        torch.testing.assert_close(result.scores, wanted.scores, atol=1e-4, rtol=1e-4)
        assert result.pred_classes.tolist() == wanted.pred_classes.tolist()
        torch.testing.assert_close(
            result.pred_boxes.tensor, wanted.pred_boxes.tensor, atol=1e-3, rtol=1e-4
        )


def test_losses_are_equal(pair):
    ours, published = (model.train() for model in pair)
    inputs = make_inputs()
    assert 0 in COUNTS  # an image without ground truth is among them
    losses, expected = ours(inputs), published(inputs)
    assert set(losses) == set(expected)
    for name, value in losses.items():
        torch.testing.assert_close(value, expected[name], atol=1e-4, rtol=1e-4, msg=name)


def test_a_step_of_the_optimizer_is_equal(pair, tiny_cfg):  # noqa: F811
    tiny_cfg.SOLVER.OPTIMIZER, tiny_cfg.SOLVER.BASE_LR = "SGD", 0.01
    tiny_cfg.SOLVER.MOMENTUM = 0.0
    tiny_cfg.SOLVER.WEIGHT_DECAY_NORM = tiny_cfg.SOLVER.WEIGHT_DECAY
    tiny_cfg.SOLVER.BACKBONE_MULTIPLIER = 0.1
    clip = tiny_cfg.SOLVER.CLIP_GRADIENTS
    clip.ENABLED, clip.CLIP_TYPE, clip.CLIP_VALUE = True, "full_model", 1.0
    ours, published = (model.train() for model in pair)
    build = {ours: build_optimizer, published: reference.build_optimizer}
    for model in (ours, published):
        optimizer = build[model](tiny_cfg, model)
        sum(model(make_inputs()).values()).backward()
        optimizer.step()
    for (name, value), wanted in zip(ours.named_parameters(), published.parameters(), strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-4, rtol=1e-4, msg=name)
