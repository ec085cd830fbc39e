from pathlib import Path

import pytest

from bccd.benchmark.split import split, watch_model, watch_training
from bccd.benchmark.workload import Workload

CONFIGS = Path(__file__).parents[2] / "configs"
SPARSE_RCNN = CONFIGS / "SparseRCNN" / "sparse_rcnn_lite_bccd.yaml"
SSD = CONFIGS / "SSD" / "ssd_lite_bccd.yaml"
FORWARD = {"normalise and pad", "backbone", "head", "post-processing", "rest"}
TRAINING = {"losses", "matching", "backward", "optimizer", "average of the weights"}
STAGES = {"head: pooling", "head: stage 0", "head: stage 1", "head: stage 2"}


@pytest.fixture(scope="module", params=[SPARSE_RCNN, SSD], ids=["sparse_rcnn", "ssd"])
def workload(request):
    opts = ["INPUT.MIN_SIZE_TEST", "64"]
    return Workload(request.param, opts, size=(64, 80), batch_size=2)


def own_parts(workload):
    return {"dense head", *STAGES} if hasattr(workload.model.head, "head_series") else set()


def test_every_part_of_a_forward_pass_is_found(workload):
    parts = split(workload.forward, lambda s: watch_model(s, workload.model), 0)
    assert set(parts) == FORWARD | own_parts(workload)


def test_every_part_of_a_training_iteration_is_found(workload):
    def watch(sections):
        watch_model(sections, workload.model)
        watch_training(sections, workload.optimizer, workload.ema)

    parts = split(workload.train, watch, 0)
    assert set(parts) == (FORWARD | TRAINING | own_parts(workload)) - {"post-processing"}


def test_the_workload_is_left_as_it_was(workload):
    before = {name: dict(vars(module)) for name, module in workload.model.named_modules()}
    split(workload.forward, lambda s: watch_model(s, workload.model), 0)
    after = {name: dict(vars(module)) for name, module in workload.model.named_modules()}
    assert {n: v.keys() for n, v in before.items()} == {n: v.keys() for n, v in after.items()}
