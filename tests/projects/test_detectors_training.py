"""Each real detector on the CPU: two processes train as one, a resumed run as an unbroken one."""

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
# Images of one size, so that no padding depends on the grouping, no batch statistics, and no
# bfloat16, whose rounding does.
OPTIONS = {
    "DATASETS.TRAIN": "('smears_val',)",
    "DATASETS.VAL": "()",
    "INPUT.FIXED_SIZE": "(96, 128)",
    "MODEL.RESNETS.NORM": "GN",
    "MODEL.FPN.NORM": "GN",
    "SOLVER.AMP.ENABLED": False,
    "SOLVER.IMS_PER_BATCH": 4,
    "SOLVER.MAX_ITER": 3,
    "DATALOADER.NUM_WORKERS": 0,
}


@pytest.fixture
def train(warm_python):
    """Function that trains, and returns the losses of the last iteration."""
    return partial(run, warm_python.executable)


def run(python, config, output, *flags, **options):
    options = {**OPTIONS, **options, "OUTPUT_DIR": output}
    words = [str(word) for pair in options.items() for word in pair]
    done = subprocess.run(
        [python, "train_net.py", "--config-file", config, *flags, *words],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    metrics = json.loads((output / "metrics.json").read_text().splitlines()[-1])
    return {name: value for name, value in metrics.items() if "loss" in name}


DETECTORS = pytest.mark.parametrize(
    ("config", "options"),
    [
        ("configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml", {"MODEL.SparseRCNN.NUM_PROPOSALS": 20}),
        ("configs/SSD/ssd_lite_bccd.yaml", {"MODEL.SSD.NORM": "GN"}),
    ],
    ids=["Sparse R-CNN", "SSD"],
)


@DETECTORS
def test_two_processes_give_the_losses_of_one(tmp_path, train, config, options):
    single = train(config, tmp_path / "one", **options)
    url = f"file://{tmp_path}/rendezvous"
    double = train(config, tmp_path / "two", "--num-gpus", "2", "--dist-url", url, **options)
    assert len(single) > 3
    assert double == pytest.approx(single, rel=1e-4)


@DETECTORS
def test_a_resumed_training_is_bit_identical(tmp_path, train, config, options):
    options = {**options, "SOLVER.CHECKPOINT_PERIOD": 2}
    train(config, tmp_path / "whole", **options)
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    shutil.copy(tmp_path / "whole" / "model_0000001.pth", resumed)
    (resumed / "last_checkpoint").write_text("model_0000001.pth")
    train(config, resumed, "--resume", **options)
    first, second = (
        torch.load(folder / "model_final.pth", weights_only=True)
        for folder in (tmp_path / "whole", resumed)
    )
    for weights in ("model", "raw_model"):
        for name, weight in first[weights].items():
            assert torch.equal(weight, second[weights][name]), name
