"""Activation checkpointing changes what is kept, and nothing else."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from detectron2.layers.batch_norm import NaiveSyncBatchNorm
from detectron2.modeling import build_model
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from bccd.benchmark.workload import read_config, smear_batch
from bccd.modeling.activation_checkpointing import recompute, recompute_backbone
from bccd.modeling.backbones import vgg

CONFIGS = Path(__file__).parents[2] / "configs"
SPARSE_RCNN = CONFIGS / "SparseRCNN" / "sparse_rcnn_lite_bccd.yaml"
SSD = CONFIGS / "SSD" / "ssd_lite_bccd.yaml"
DETECTORS = pytest.mark.parametrize("config", [SPARSE_RCNN, SSD], ids=["Sparse R-CNN", "SSD"])


def build(config, enabled, **options):
    options = {
        "MODEL.DEVICE": "cpu",
        "INPUT.MIN_SIZE_TEST": 64,
        "MODEL.SparseRCNN.DROPOUT": 0.3,
        "MODEL.ACTIVATION_CHECKPOINTING": enabled,
        **options,
    }
    cfg = read_config(config, [word for pair in options.items() for word in pair])
    torch.manual_seed(0)
    return build_model(cfg).train(), smear_batch(cfg, (64, 96), 2)


def train(model, batch, amp_dtype=None):
    """Losses of two passes, which also show the random state and the statistics that they leave."""
    torch.manual_seed(1)
    history = []
    for _ in range(2):
        with torch.autocast("cpu", dtype=amp_dtype, enabled=amp_dtype is not None):
            losses = model(batch)
        sum(losses.values()).backward()
        history.append({name: loss.item() for name, loss in losses.items()})
    return history


def assert_same(model, expected, rtol=1e-5):
    gradients = dict(expected.named_parameters())
    for name, parameter in model.named_parameters():
        gradient = gradients[name].grad
        torch.testing.assert_close(
            parameter.grad, gradient, rtol=rtol, atol=rtol * gradient.abs().max().item(), msg=name
        )
    buffers = dict(expected.named_buffers())
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, buffers[name]), name


@DETECTORS
def test_it_keeps_less(config):
    kept = {}
    for enabled in (False, True):
        model, batch = build(config, enabled)
        sizes = {}
        with torch.autograd.graph.saved_tensors_hooks(
            lambda x, sizes=sizes: sizes.update({x.data_ptr(): x.nbytes}) or x, lambda x: x
        ):
            losses = model(batch)
        kept[enabled] = sum(sizes.values())
        del losses
    assert kept[True] < 0.5 * kept[False]


@DETECTORS
def test_a_copy_as_of_the_average_computes_with_its_own_weights(config):
    model, batch = build(config, True)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    plain, _ = build(config, False)
    assert train(other, batch) == train(plain, batch)
    assert_same(other, plain)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize(
    ("config", "options"),
    [
        (SPARSE_RCNN, {"find_unused_parameters": True}),
        (SPARSE_RCNN, {"static_graph": True}),
        (SSD, {}),
    ],
)
def test_distributed_training(config, options, tmp_path):
    plain, batch = build(config, False)
    model, _ = build(config, True)
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        parallel = DistributedDataParallel(model, **options)
        assert train(parallel, batch) == train(plain, batch)
    finally:
        dist.destroy_process_group()
    assert_same(model, plain)


def test_the_stages_of_vgg(monkeypatch):
    monkeypatch.setattr(vgg, "_STAGES", ((8, 8), (8, 8), (8, 8, 8), (16, 16, 16), (16, 16, 16)))
    models = []
    for enabled in (False, True):
        torch.manual_seed(0)
        models.append(vgg.VGG16(norm="BN").train())
        if enabled:
            recompute_backbone(models[-1])
        images = torch.rand(2, 3, 300, 300)
        sum(x.square().mean() for x in models[-1](images).values()).backward()
    assert_same(models[1], models[0])


def test_statistics_over_processes_are_taken_once(monkeypatch):
    monkeypatch.setattr("detectron2.utils.comm.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 1)
    norm = NaiveSyncBatchNorm(3)
    x = torch.rand(2, 3, 4, 4, requires_grad=True)
    recompute(norm)
    norm(x).sum().backward()
    expected = 0.9 * torch.zeros(3) + 0.1 * x.detach().mean((0, 2, 3))
    assert torch.allclose(norm.running_mean, expected)


def test_a_backbone_without_known_stages_is_refused():
    with pytest.raises(ValueError, match="ACTIVATION_CHECKPOINTING"):
        recompute_backbone(nn.Sequential())
