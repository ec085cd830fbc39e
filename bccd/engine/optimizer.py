"""The optimizer that the config asks for."""

import torch
from detectron2.config import CfgNode
from detectron2.solver.build import get_default_optimizer_params, maybe_add_gradient_clipping
from torch import nn
from torch.optim import Optimizer


def build_optimizer(cfg: CfgNode, model: nn.Module) -> Optimizer:
    """Build SGD, Adam or AdamW with Detectron2's parameter groups and gradient clipping.

    Beyond Detectron2's ``build_optimizer``: ``SOLVER.OPTIMIZER``, ``SOLVER.BACKBONE_MULTIPLIER``
    (on parameters named ``backbone.*``), and ``CLIP_GRADIENTS.CLIP_TYPE: full_model``.

    Raises:
        ValueError: unknown SOLVER.OPTIMIZER.
    """
    solver = cfg.SOLVER
    kinds = {
        "SGD": (torch.optim.SGD, {"momentum": solver.MOMENTUM, "nesterov": solver.NESTEROV}),
        "ADAM": (torch.optim.Adam, {}),
        "ADAMW": (torch.optim.AdamW, {}),
    }
    if solver.OPTIMIZER not in kinds:
        raise ValueError(f"SOLVER.OPTIMIZER is {solver.OPTIMIZER}; expected one of {list(kinds)}")
    kind, options = kinds[solver.OPTIMIZER]
    full_model = solver.CLIP_GRADIENTS.CLIP_TYPE == "full_model"
    if not full_model:
        kind = maybe_add_gradient_clipping(cfg, kind)
    optimizer = kind(
        _parameter_groups(solver, model),
        lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        fused=True,  # one pass over the memory, and the number of steps stays on the device
        **options,
    )
    if full_model and solver.CLIP_GRADIENTS.ENABLED:
        clip = solver.CLIP_GRADIENTS
        optimizer.register_step_pre_hook(_full_model_clipping(clip.CLIP_VALUE, clip.NORM_TYPE))
    return optimizer


def _parameter_groups(solver, model):
    groups = get_default_optimizer_params(
        model,
        base_lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        bias_lr_factor=solver.BIAS_LR_FACTOR,
        weight_decay_bias=solver.WEIGHT_DECAY_BIAS,
    )
    if solver.BACKBONE_MULTIPLIER == 1:
        return groups
    backbone = {p for name, p in model.named_parameters() if name.startswith("backbone.")}
    split = []
    for group in groups:
        inside = [p for p in group["params"] if p in backbone]
        outside = [p for p in group["params"] if p not in backbone]
        slowed = {**group, "params": inside, "lr": group["lr"] * solver.BACKBONE_MULTIPLIER}
        split += [g for g in ({**group, "params": outside}, slowed) if g["params"]]
    return split


def _full_model_clipping(max_norm, norm_type):
    # A step's hook sees the true gradients: TrainStep has divided them by the GradScaler's scale.
    def clip(optimizer, args, kwargs):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, max_norm, norm_type)

    return clip
