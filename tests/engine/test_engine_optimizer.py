import itertools

import pytest
import torch
from detectron2.utils.events import EventStorage
from torch import nn

from bccd.engine.optimizer import build_optimizer
from bccd.engine.step import TrainStep


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
        self.head = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 2))
        self.not_the_backbone = nn.Linear(2, 2)
        self.backbone[0].weight.requires_grad_(False)


def settings(optimizer, model):
    """{parameter name: (learning rate, weight decay)}"""
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[p]: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for p in group["params"]
    }


@pytest.mark.parametrize("decay_norm, decay_bias", [(0.0, 0.0), (0.1, None)])
@pytest.mark.parametrize("multiplier", [1.0, 0.1])
def test_parameter_groups(cfg, decay_norm, decay_bias, multiplier):
    cfg.SOLVER.OPTIMIZER = "ADAMW"
    cfg.SOLVER.BASE_LR, cfg.SOLVER.WEIGHT_DECAY = 0.01, 0.1
    cfg.SOLVER.WEIGHT_DECAY_NORM, cfg.SOLVER.WEIGHT_DECAY_BIAS = decay_norm, decay_bias
    cfg.SOLVER.BACKBONE_MULTIPLIER = multiplier
    model = Model()
    expected = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = 0.1
        if name.startswith(("backbone.1.", "head.1.")):
            decay = decay_norm
        if name.endswith("bias") and decay_bias is not None:
            decay = decay_bias
        expected[name] = (0.01 * (multiplier if name.startswith("backbone.") else 1), decay)
    optimizer = build_optimizer(cfg, model)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert settings(optimizer, model) == expected
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    assert count == len(expected)  # none twice


@pytest.mark.parametrize(
    "name, kind",
    [("SGD", torch.optim.SGD), ("ADAM", torch.optim.Adam), ("ADAMW", torch.optim.AdamW)],
)
def test_kinds(cfg, name, kind):
    cfg.SOLVER.OPTIMIZER = name
    assert type(build_optimizer(cfg, Model())) is kind


def test_unknown_kind(cfg):
    cfg.SOLVER.OPTIMIZER = "LION"
    with pytest.raises(ValueError, match=r"SOLVER\.OPTIMIZER is LION; expected one of .*ADAMW"):
        build_optimizer(cfg, Model())


def clipped(gradients, clip_type, limit):
    """What the gradients should become."""
    if clip_type == "value":
        return [g.clamp(-limit, limit) for g in gradients]
    if clip_type == "norm":
        return [g * min(1, limit / g.norm()) for g in gradients]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    return [g * min(1, limit / norm) for g in gradients]


@pytest.mark.parametrize("clip_type", ["value", "norm", "full_model"])
@pytest.mark.parametrize("limit", [0.5, 1000.0])
@pytest.mark.parametrize("multiplier", [1.0, 0.5])
def test_clipping(cfg, clip_type, limit, multiplier):
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = clip_type
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = limit
    cfg.SOLVER.BACKBONE_MULTIPLIER = multiplier
    cfg.SOLVER.MOMENTUM = cfg.SOLVER.WEIGHT_DECAY = cfg.SOLVER.WEIGHT_DECAY_NORM = 0.0
    cfg.SOLVER.BASE_LR = 1.0
    model = Model().double()
    optimizer = build_optimizer(cfg, model)
    names, parameters = zip(
        *((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True
    )
    torch.manual_seed(0)
    gradients = [torch.randn_like(p) * 3 for p in parameters]
    before = [p.detach().clone() for p in parameters]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    optimizer.step()
    for name, old, new, gradient in zip(
        names, before, parameters, clipped(gradients, clip_type, limit), strict=True
    ):
        rate = multiplier if name.startswith("backbone.") else 1
        assert torch.allclose(old - new, rate * gradient, atol=1e-5)


class OneWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))

    def forward(self, batch):
        return {"loss": self.weight.sum()}


def test_clipping_sees_unscaled_gradients(cfg):
    cfg.SOLVER.CLIP_GRADIENTS.ENABLED = True
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_TYPE = "full_model"
    cfg.SOLVER.CLIP_GRADIENTS.CLIP_VALUE = 1e4  # the scale is above it, the gradient below
    cfg.SOLVER.MOMENTUM, cfg.SOLVER.WEIGHT_DECAY, cfg.SOLVER.BASE_LR = 0.0, 0.0, 1.0
    model = OneWeight()
    batches = itertools.repeat([{}])
    step = TrainStep(model, batches, build_optimizer(cfg, model), amp_dtype=torch.float16)
    assert step.grad_scaler.get_scale() > 1e4
    with EventStorage():
        step.run_step()
    assert torch.allclose(model.weight, -torch.ones(3), atol=1e-4)
