import json
from types import SimpleNamespace

import pytest
import torch
from detectron2.evaluation import DatasetEvaluator
from torch import nn

from bccd.evaluation import inference
from bccd.evaluation.inference import inference_on_dataset, summarise_times
from bccd.evaluation.machine import MASKS, describe_machine, machine_in_words


@pytest.fixture
def clock(monkeypatch):
    """A clock that only ``advance`` moves."""
    now = [0.0]

    def advance(seconds):
        now[0] += seconds

    monkeypatch.setattr(inference, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return advance


class Recorder(DatasetEvaluator):
    def __init__(self, output_dir=None):
        self.output_dir = output_dir

    def reset(self):
        self.seen = []

    def process(self, inputs, outputs):
        self.seen += list(zip(inputs, outputs, strict=True))

    def evaluate(self):
        return {"seen": {"images": float(len(self.seen))}}


class Model(nn.Module):
    """Each batch takes the next of ``seconds`` on the clock."""

    def __init__(self, clock=None, seconds=()):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.clock, self.seconds = clock, list(seconds)

    def forward(self, batch):
        assert not self.training
        if self.clock:
            self.clock(self.seconds.pop(0))
        return [x * self.scale for x in batch]


def batches(count, size=1):
    return [[float(i * size + j) for j in range(size)] for i in range(count)]


@pytest.mark.parametrize("training", [True, False])
def test_every_image_reaches_the_evaluator_without_gradients_in_eval_mode(training):
    model, recorder = Model().train(training), Recorder()
    results = inference_on_dataset(model, batches(3, size=2), recorder)
    assert model.training == training
    assert results["seen"] == {"images": 6.0}
    assert [x for x, _ in recorder.seen] == [float(y) for _, y in recorder.seen] == list(range(6))
    assert not any(y.requires_grad for _, y in recorder.seen)


def test_times_of_batches_become_times_of_images():
    summary = summarise_times([(0.2, 2.0, 2), (0.1, 4.0, 1), (0.3, 9.0, 3)])
    assert summary["data_mean"] == pytest.approx((0.1 * 2 + 0.1 + 0.1 * 3) / 6)
    assert summary["model_mean"] == pytest.approx((1.0 * 2 + 4.0 + 3.0 * 3) / 6)
    assert summary["model_median"] == pytest.approx(3.0)  # of 1 1 3 3 3 4
    assert summary["model_p95"] == pytest.approx(3.75)  # a quarter of the way from 4 down to 3
    assert set(summary) == {
        f"{p}_{s}" for p in ("data", "model") for s in ("mean", "median", "p95")
    }


def test_the_warm_up_is_not_timed_when_enough_follows(clock, tmp_path):
    model = Model(clock, [9.0] * 5 + [1.0] * 10)
    results = inference_on_dataset(model, batches(15), Recorder(str(tmp_path)))
    assert results["time"]["model_mean"] == 1.0
    saved = json.loads((tmp_path / "timing.json").read_text())
    assert saved.pop("machine") == describe_machine()
    assert saved == {**results["time"], "images_timed": 10}


def test_the_machine_names_its_instructions_and_what_masks_them(monkeypatch):
    for mask in MASKS:
        monkeypatch.delenv(mask, raising=False)
    machine = describe_machine()
    assert machine["instructions"] == torch.backends.cpu.get_cpu_capability()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    masked = describe_machine()["instructions"]
    assert masked == f"{machine['instructions']} by ONEDNN_MAX_CPU_ISA=AVX2"
    assert f"({masked}), PyTorch" in machine_in_words(describe_machine())
    del machine["instructions"]  # of files measured before
    assert machine_in_words(machine).startswith(f"{machine['device']}, PyTorch")


def test_all_batches_are_timed_when_there_are_few(clock):
    model = Model(clock, [9.0] * 5 + [1.0] * 9)
    assert inference_on_dataset(model, batches(14), Recorder())["time"]["model_mean"] == 54 / 14


def test_waiting_for_data_is_apart_from_the_model_and_the_evaluator(clock):
    class Loader(list):
        def __iter__(self):
            for batch in super().__iter__():
                clock(3.0)
                yield batch

    class SlowRecorder(Recorder):
        def process(self, inputs, outputs):
            clock(50.0)

    model = Model(clock, [1.0, 2.0, 3.0])
    times = inference_on_dataset(model, Loader(batches(3)), SlowRecorder())["time"]
    assert (times["data_median"], times["model_median"]) == (3.0, 2.0)


def test_evaluators_may_be_a_list_or_none():
    assert inference_on_dataset(Model(), batches(2), [Recorder()])["seen"] == {"images": 2.0}
    assert set(inference_on_dataset(Model(), batches(2), None)) == {"time"}


def test_an_empty_loader_is_an_error():
    with pytest.raises(ValueError, match=r"DATASETS\.TEST"):
        inference_on_dataset(Model(), [], Recorder())
