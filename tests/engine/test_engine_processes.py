"""train_net.py as a command: one process, several over gloo, torchrun, --eval-only, a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from tiny_training import tiny_options

ROOT = Path(__file__).parents[2]
TORCHRUN = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m"]


def command(python, launcher, output, *arguments, options=()):
    flags = [python, "-m", *launcher, "tiny_training", *arguments]
    return flags + [str(value) for value in tiny_options(output, *options)]


def environment(tmp_path):
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    hidden = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **hidden, "PYTHONPATH": path, "TINY_IMAGES": str(tmp_path)}


@pytest.fixture(scope="module")
def run(warm_python):
    """Function that runs the tiny training; returns what it printed."""
    return partial(run_training, warm_python.executable)


def run_training(python, tmp_path, launcher, output, *arguments, options=()):
    done = subprocess.run(
        command(python, launcher, output, *arguments, options=options),
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def metrics(output):
    lines = (output / "metrics.json").read_text().splitlines()
    return {key: value for line in lines for key, value in json.loads(line).items()}


@pytest.fixture(scope="module")
def single(tmp_path_factory, run):
    folder = tmp_path_factory.mktemp("single")
    run(folder, [], folder / "out")
    return folder


@pytest.mark.parametrize("launcher", ["--num-gpus 2", "torchrun"])
def test_two_processes_give_the_losses_of_one(tmp_path, single, run, launcher):
    url = f"file://{tmp_path}/rendezvous"
    if launcher == "torchrun":
        log = run(tmp_path, TORCHRUN, tmp_path / "out")
    else:
        log = run(tmp_path, [], tmp_path / "out", "--num-gpus", "2", "--dist-url", url)
    assert "2 CPU processes over gloo" in log
    expected, actual = metrics(single / "out"), metrics(tmp_path / "out")
    for name in ("total_loss", "loss_ce", "loss_bbox", "val_total_loss", "lr", "bbox/AP"):
        assert actual[name] == pytest.approx(expected[name], rel=1e-5), name
    first, second = (
        torch.load(folder / "out" / "model_final.pth", weights_only=True)
        for folder in (single, tmp_path)
    )
    for name, weight in first["model"].items():
        assert torch.allclose(weight, second["model"][name], atol=1e-6), name
    assert len(second["rng"]["processes"]) == 2


def test_eval_only_repeats_to_the_last_digit(tmp_path, single, run):
    weights = single / "out" / "model_final.pth"
    options = ("MODEL.WEIGHTS", weights, "DATASETS.TEST", ("tiny_val",))
    # As the validation in a training computes.
    options += ("INFERENCE.FOLD", False, "INFERENCE.PACK", False)
    log = run(tmp_path, TORCHRUN, tmp_path / "out", "--eval-only", options=options)
    assert "No operating points are known" not in log  # the checkpoint's are used
    first, again = single / "out" / "validation", tmp_path / "out" / "inference"
    for name in ("coco_instances_results.json", "pr_curves.csv"):
        assert (first / name).read_text() == (again / name).read_text()
    reports = [json.loads((folder / "evaluation.json").read_text()) for folder in (first, again)]
    assert reports[0]["bbox"] == reports[1]["bbox"]


def test_a_process_that_dies_ends_the_evaluation_and_is_named(tmp_path, single, warm_python):
    options = ("MODEL.WEIGHTS", single / "out/model_final.pth", "DATASETS.TEST", ("tiny_val",))
    options += ("MODEL.META_ARCHITECTURE", "TinyMortalDetector")
    python = warm_python.executable
    done = subprocess.run(
        command(python, [], tmp_path / "out", "--eval-only", "--num-gpus", "2", options=options),
        env={**environment(tmp_path), "TINY_DEATH": "1 3"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode != 0
    assert "process 1 terminated with signal SIGKILL" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out/inference/evaluation.json").exists()


def test_killed_process_resumes(tmp_path, run):
    out = tmp_path / "out"
    options = ("SOLVER.MAX_ITER", 100000, "SOLVER.CHECKPOINT_PERIOD", 5, "TEST.EVAL_PERIOD", 0)
    process = subprocess.Popen(
        command(sys.executable, [], out, options=options),  # one process, that is killed
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    limit = time.monotonic() + 400
    while not (out / "last_checkpoint").exists() and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = (out / "last_checkpoint").read_text()
    done = torch.load(out / last, weights_only=True)["iteration"] + 1
    log = run(tmp_path, [], out, "--resume", options=("SOLVER.MAX_ITER", done + 2))
    assert f"Starting training from iteration {done}" in log
