from pathlib import Path

import pytest

from bccd.benchmark.split import split, watch_model, watch_training
from bccd.benchmark.workload import Subject

CONFIGS = Path(__file__).parents[2] / "configs"
SPARSE_RCNN = CONFIGS / "SparseRCNN" / "sparse_rcnn_lite_bccd.yaml"
SSD = CONFIGS / "SSD" / "ssd_lite_bccd.yaml"
FORWARD = {"normalise and pad", "backbone", "head", "post-processing", "rest"}
TRAINING = {"losses", "matching", "backward", "optimizer", "average of the weights"}
STAGES = {"head: pooling", "head: stage 0", "head: stage 1", "head: stage 2"}


@pytest.fixture(scope="module", params=[SPARSE_RCNN, SSD], ids=["sparse_rcnn", "ssd"])
def subject(request):
    opts = ["INPUT.MIN_SIZE_TEST", "64"]
    return Subject(request.param, opts, size=(64, 80), batch_size=2)


def own_parts(subject):
    return {"dense head", *STAGES} if hasattr(subject.model.head, "head_series") else set()


def test_every_part_of_a_forward_pass_is_found(subject):
    parts = split(subject.forward, lambda s: watch_model(s, subject.model), 0)
    assert set(parts) == FORWARD | own_parts(subject)


def test_every_part_of_a_training_iteration_is_found(subject):
    def watch(sections):
        watch_model(sections, subject.model)
        watch_training(sections, subject.optimizer, subject.ema)

    parts = split(subject.train, watch, 0)
    assert set(parts) == (FORWARD | TRAINING | own_parts(subject)) - {"post-processing"}


def test_the_subject_is_left_as_it_was(subject):
    before = {name: dict(vars(module)) for name, module in subject.model.named_modules()}
    split(subject.forward, lambda s: watch_model(s, subject.model), 0)
    after = {name: dict(vars(module)) for name, module in subject.model.named_modules()}
    assert {n: v.keys() for n, v in before.items()} == {n: v.keys() for n, v in after.items()}
