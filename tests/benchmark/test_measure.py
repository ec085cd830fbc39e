import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bccd.benchmark.operations import count_flops, count_traffic
from bccd.benchmark.workload import Workload, read_config


class OneLayer(nn.Module):
    """A detector of a single matrix product."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(100, 50, bias=False)

    def forward(self, batch):
        out = self.backbone(batch)
        return {"loss": out.sum()} if self.training else out


def test_a_multiply_add_is_two_operations():
    model, batch = OneLayer(), torch.ones(10, 100)
    forward = 2 * 10 * 100 * 50 / 1e9
    assert count_flops(model.eval(), batch) == pytest.approx(
        {"total": forward, "backbone": forward}
    )
    # The input has no gradient: the backward pass is one product, of the weights' gradient.
    assert count_flops(model.train(), batch) == pytest.approx({"total": 2 * forward})


def test_traffic_is_what_operations_read_and_write():
    a, b = torch.ones(10, 100), torch.ones(10, 100)  # fp32: 4000 bytes each
    assert count_traffic(lambda: a + b) == pytest.approx(12000 / 1e9)
    assert count_traffic(lambda: a.t()[3:].view(97, 10)) == 0


HOLD_ONE_AFTER_ANOTHER = """
import torch
from bccd.benchmark.memory import peak_growth

def hold():
    for _ in range(4):
        torch.ones(64 * 2**20, dtype=torch.uint8)

print(peak_growth(hold))
"""


def test_peak_memory_is_what_is_held_at_a_time():
    # A process of its own: in this one, memory that earlier tests have freed may be kept.
    command = [sys.executable, "-c", HOLD_ONE_AFTER_ANOTHER]
    growth = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if growth == "None":
        pytest.skip("this system does not tell the peak of a process's memory")
    assert 60 < float(growth) < 110


def test_training_again_and_again_leaves_the_weights():
    config = Path(__file__).parents[2] / "configs" / "SSD" / "ssd_lite_bccd.yaml"
    workload = Workload(config, ["INPUT.MIN_SIZE_TEST", "64"], size=(64, 80), batch_size=2)
    before = [p.detach().clone() for p in workload.model.parameters()]
    workload.train()
    assert all(map(torch.equal, before, workload.model.parameters()))
    assert any(p.grad.abs().sum() > 0 for p in workload.model.parameters())


def test_options_come_after_the_config_file():
    config = Path(__file__).parents[2] / "configs" / "SSD" / "ssd_lite_bccd.yaml"
    assert read_config(config, ["SOLVER.BASE_LR", "0.5"]).SOLVER.BASE_LR == 0.5
