"""A training that is killed and resumed gives what an uninterrupted one gives, bit by bit."""

import random

import numpy as np
import pytest
import torch
from detectron2.utils.env import seed_all_rng
from tiny_training import register_tiny_datasets, tiny_cfg

from bccd.engine.rng import get_rng_state, preserved_rng, set_rng_state
from bccd.engine.trainer import BCCDTrainer

OPTIONS = (
    *("MODEL.META_ARCHITECTURE", "TinyDropoutDetector", "SOLVER.OPTIMIZER", "ADAMW"),
    *("SOLVER.EMA.ENABLED", True, "SOLVER.BASE_LR", 0.01, "INPUT.RANDOM_FLIP", "horizontal"),
    *("INPUT.PHOTOMETRIC.ENABLED", True, "INPUT.PHOTOMETRIC.NOISE_STD", 0.1),
    *("SOLVER.ACCUMULATE", 2),
)


class Killed(BaseException):
    pass


class RecordingTrainer(BCCDTrainer):
    """Notes every step's losses; dies before ``kill_at``, or in the evaluation ``kill_in``."""

    kill_at = kill_in = None

    def run_step(self):
        if self.iter == self.kill_at:
            raise Killed
        super().run_step()
        latest = self.storage.latest()
        self.losses[self.iter] = {k: v for k, (v, _) in latest.items() if "loss" in k}

    def validate(self):
        if self.iter == self.kill_in:
            raise Killed
        return super().validate()


def run(cfg, losses, *, seed=7, resume=False, **kill):
    seed_all_rng(seed)
    trainer = RecordingTrainer(cfg)
    trainer.losses = losses
    vars(trainer).update(kill)
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def assert_equal(first, second):
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for pair in zip(first, second, strict=True):
            assert_equal(*pair)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    else:
        assert first == second


@pytest.mark.parametrize(
    "kill",
    [{"kill_at": 5}, {"kill_at": 3}, {"kill_in": 2}],
    ids=["between checkpoints", "after an evaluation", "before the evaluation"],
)
@pytest.mark.parametrize("seed", [7, -1], ids=["seeded", "unseeded"])
def test_resumed_equals_uninterrupted(tmp_path, monkeypatch, kill, seed):
    register_tiny_datasets(tmp_path)
    monkeypatch.setattr("bccd.engine.trainer.comm.shared_random_seed", lambda: 5)
    whole_losses, losses = {}, {}
    whole = run(tiny_cfg(tmp_path / "whole", *OPTIONS, "SEED", seed), whole_losses)
    cfg = tiny_cfg(tmp_path / "resumed", *OPTIONS, "SEED", seed)
    with pytest.raises(Killed):
        run(cfg, losses, **kill)
    # Neither the generators' state nor the seed of a resumed process matters.
    monkeypatch.setattr("bccd.engine.trainer.comm.shared_random_seed", lambda: 99)
    resumed = run(cfg, losses, seed=12345, resume=True)

    assert resumed.start_iter == 3
    assert losses == whole_losses
    for name in ("model_final.pth", "model_0000005.pth", "model_best.pth"):
        first, second = (
            torch.load(tmp_path / folder / name, weights_only=True)
            for folder in ("whole", "resumed")
        )
        assert_equal(first, second)
    for results in (whole.last_results, resumed.last_results):
        del results["time"]
    assert whole.last_results == resumed.last_results


def test_random_state_round_trip():
    def draw():
        return random.random(), np.random.rand(), np.random.randn(), torch.rand(1).item()

    random.gauss(0, 1)
    np.random.randn()  # leaves a second Gaussian number behind
    state = get_rng_state()
    first = draw()
    set_rng_state(state)
    assert draw() == first
    with preserved_rng():
        expected = draw()
    assert draw() == expected


def test_checkpoints_of_the_resumed_run_are_pruned(tmp_path):
    register_tiny_datasets(tmp_path)
    options = ("DATASETS.VAL", (), "SOLVER.CHECKPOINT_PERIOD", 1, "SOLVER.CHECKPOINTS_TO_KEEP", 2)
    cfg = tiny_cfg(tmp_path / "out", *options)
    with pytest.raises(Killed):
        run(cfg, {}, kill_at=3)
    run(cfg, {}, resume=True)
    left = sorted(file.name for file in (tmp_path / "out").glob("model_*.pth"))
    assert left == ["model_0000004.pth", "model_0000005.pth", "model_final.pth"]


def test_finished_run_is_left_as_it_is(tmp_path):
    register_tiny_datasets(tmp_path)
    cfg = tiny_cfg(tmp_path / "out")
    run(cfg, {})
    before = torch.load(tmp_path / "out" / "model_final.pth", weights_only=True)
    losses = {}
    run(cfg, losses, resume=True)
    assert losses == {}
    assert_equal(before, torch.load(tmp_path / "out" / "model_final.pth", weights_only=True))
