import copy
import itertools

import pytest
import torch
from detectron2.utils.events import EventStorage
from tiny_training import TinyDetector, register_tiny_datasets, tiny_cfg
from torch import nn

from bccd.data.loading.loader import build_train_loader, build_val_loss_loader
from bccd.engine.ema import ModelEMA
from bccd.engine.step import TrainStep
from bccd.engine.validation_loss import validation_losses


def steps(model, loader, count, **options):
    """Run ``count`` steps of SGD; the losses put into the storage at each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    step = TrainStep(model, loader, optimizer, **options)
    losses = []
    with EventStorage() as storage:
        for _ in range(count):
            step.run_step()
            losses.append({k: v for k, (v, _) in storage.latest().items() if "loss" in k})
    return losses


def test_accumulation_equals_the_big_batch(tmp_path):
    register_tiny_datasets(tmp_path)
    torch.manual_seed(0)
    big = TinyDetector()
    small = copy.deepcopy(big)
    loaders = [
        build_train_loader(tiny_cfg(tmp_path, "SOLVER.IMS_PER_BATCH", size), seed=3)
        for size in (8, 2)
    ]
    expected = steps(big, loaders[0], 4)
    actual = steps(small, loaders[1], 4, accumulate=4)
    assert [a.keys() for a in actual] == [{"total_loss", "loss_bbox", "loss_ce"}] * 4
    for a, e in zip(actual, expected, strict=True):
        assert a == pytest.approx(e, rel=1e-5)
    for name, parameter in small.named_parameters():
        assert torch.allclose(parameter, big.get_parameter(name), atol=1e-6), name


def test_autocast_on_the_cpu_trains(tmp_path):
    register_tiny_datasets(tmp_path)
    model = TinyDetector()
    kinds = []
    model.backbone[0].register_forward_hook(lambda m, i, output: kinds.append(output.dtype))
    loader = build_train_loader(tiny_cfg(tmp_path), seed=3)
    losses = steps(model, loader, 20, amp_dtype=torch.bfloat16)
    assert set(kinds) == {torch.bfloat16}
    assert model.backbone[0].weight.dtype == torch.float32
    assert losses[-1]["total_loss"] < losses[0]["total_loss"]


class Explodes(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, batch):
        value = float("nan") if any("bad" in x["file_name"] for x in batch) else 1.0
        return {"loss_ce": self.weight.sum() * value, "loss_bbox": self.weight.sum()}


def test_loss_that_is_not_finite_names_losses_and_files():
    model = Explodes()
    batches = [["a.png", "b.png"], ["bad.png", "c.png"]]
    loader = [[{"file_name": name} for name in batch] for batch in batches]
    with pytest.raises(FloatingPointError) as error:
        steps(model, loader, 1, accumulate=2)
    message = str(error.value)
    assert "iteration 0" in message and "loss_ce=nan" in message and "loss_bbox=1" in message
    assert "bad.png, c.png" in message and "a.png" not in message
    assert model.weight.item() == 1.0  # no step was made


def test_metrics_copy_from_the_device_once_per_step(monkeypatch):
    copies = []
    original = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: copies.append(self) or original(self))
    steps(Explodes(), itertools.repeat([{"file_name": "a.png"}]), 3, accumulate=2)
    assert len(copies) == 3


def test_ema_against_the_definition():
    decay, warmup = 0.9, 4
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    ema = ModelEMA(model, decay, warmup)
    average = None
    for t in range(60):
        with torch.no_grad():
            for tensor in model.parameters():
                tensor.add_(torch.randn_like(tensor))
            model(torch.randn(5, 2))
        ema.update(model)
        now = {name: p.detach().double().clone() for name, p in model.named_parameters()}
        d = min(decay, (1 + t) / (warmup + t)) if average else 0.0
        average = {n: d * (average or now)[n] + (1 - d) * now[n] for n in now}
    assert (1 + t) / (warmup + t) > decay  # both regimes were seen
    for name, parameter in ema.module.named_parameters():
        assert torch.allclose(parameter.double(), average[name], atol=1e-5), name
    for name, buffer in ema.module.named_buffers():
        assert torch.equal(buffer, model.get_buffer(name)), name


class WithNormAndDropout(TinyDetector):
    def __init__(self):
        super().__init__(dropout=0.5)
        self.backbone[1] = nn.BatchNorm2d(4)


def test_validation_losses_change_nothing(tmp_path):
    register_tiny_datasets(tmp_path)
    model = WithNormAndDropout().eval()
    model.backbone.train()
    modes = [module.training for module in model.modules()]
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    loader = build_val_loss_loader(tiny_cfg(tmp_path), "tiny_val")
    state = torch.get_rng_state()
    losses = validation_losses(model, loader)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(weights[name], t) for name, t in model.state_dict().items())

    model.eval()
    model.training = True
    with torch.no_grad():
        each = [model(batch) for batch in loader]
    means = {f"val_{n}": sum(float(x[n]) for x in each) / len(each) for n in each[0]}
    assert losses == pytest.approx({**means, "val_total_loss": sum(means.values())})
