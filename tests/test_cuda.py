"""What runs on a GPU gives what the CPU gives. Every test needs a CUDA device."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_detectors import CONFIGS, small_smears, tiny_model
from tiny_training import register_tiny_datasets, tiny_cfg

from bccd.benchmark.workload import Workload, smear_batch
from bccd.engine.trainer import BCCDTrainer
from bccd.export.check import find_differences
from bccd.export.detector import exportable
from bccd.modeling.fast_inference.prepare import prepare_for_inference

ROOT = Path(__file__).parents[1]
DEVICE = "cuda"
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DETECTORS = pytest.mark.parametrize("name", CONFIGS)
SIZE = (96, 128)


@pytest.fixture(autouse=True)
def _full_precision():
    """TF32, cuDNN's default, rounds convolutions to ten bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def on_both(name):
    """(model on the CPU, the same on the GPU, config); what is detected is not for rounding to say.

    That is which box is lost to another, or to a threshold.
    """
    model, cfg = tiny_model(name)
    for attribute, value in (("nms_threshold", 1.0), ("score_threshold", 0.0)):
        if hasattr(model, attribute):
            setattr(model, attribute, value)
    return model, copy.deepcopy(model).to(DEVICE), cfg


def runtime(model):
    """``model`` as ``find_differences`` takes a file: images (N, H, W, 3) to what is in each."""

    def detect(images):
        samples = [{"image": torch.from_numpy(x.transpose(2, 0, 1).copy())} for x in images]
        with torch.no_grad():
            found = [output["instances"].to("cpu") for output in model(samples)]
        return (
            [x.pred_boxes.tensor.numpy() for x in found],
            [x.scores.numpy() for x in found],
            [x.pred_classes.numpy() for x in found],
        )

    return detect


def scores(model):
    """Scores (detections,) of two images, best first."""
    return [runtime(model)(image[None])[1][0] for image in small_smears()[:2]]


def assert_same_scores(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert len(one) > 0
        np.testing.assert_allclose(one, other, atol=tolerance, rtol=0)


@DETECTORS
def test_cuda_detects_what_the_cpu_detects(name):
    """Scores to a thousandth, corners to a thousandth of a pixel, classes."""
    on_cpu, on_gpu, _ = on_both(name)
    assert find_differences(exportable(on_cpu), runtime(on_gpu), small_smears()) == []


# In single precision random weights amplify the rounding, and it moves what lies on the edge of a
# ReLU or of a choice: 2.5% of a gradient were seen between two ways of computing on one CPU. In
# double precision nothing but an error of the program is left.
@pytest.mark.parametrize("counts", [(5, 3), (4, 0), (0, 0)])
@DETECTORS
def test_cuda_gives_the_losses_and_gradients_of_the_cpu(name, counts):
    assert_same_training(name, counts, torch.float32, of_losses=1e-3, of_gradients=5e-2)


@pytest.mark.parametrize("counts", [(5, 3), (4, 0), (0, 0)])
@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"sparse_rcnn"}))  # pools in float32 alone
def test_cuda_gives_the_losses_and_gradients_of_the_cpu_in_double_precision(name, counts):
    assert_same_training(name, counts, torch.float64, of_losses=1e-5, of_gradients=1e-5)


def assert_same_training(name, counts, dtype, *, of_losses, of_gradients):
    on_cpu, on_gpu, cfg = on_both(name)
    batch = smear_batch(cfg, SIZE, len(counts))
    for sample, count in zip(batch, counts, strict=True):
        sample["instances"] = sample["instances"][:count]
    losses, gradients = train_once(on_cpu.to(dtype), batch)
    gpu_losses, gpu_gradients = train_once(on_gpu.to(dtype), batch)
    assert gpu_losses.keys() == losses.keys() and gpu_gradients.keys() == gradients.keys()
    for key, loss in losses.items():
        torch.testing.assert_close(gpu_losses[key], loss, atol=of_losses, rtol=of_losses, msg=key)
    total = sum(gradient.square().sum() for gradient in gradients.values()).sqrt()
    assert total > 0
    for key, gradient in gradients.items():
        distance = (gpu_gradients[key] - gradient).norm()
        # The gradient of a bias before a normalisation is 0 but for the rounding of all others.
        assert distance <= of_gradients * (gradient.norm() + 0.02 * total), key


def train_once(model, batch):
    """Losses and gradients of the parameters, on the CPU."""
    torch.manual_seed(0)
    losses = model.train()(batch)
    sum(losses.values()).backward()
    gradients = {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
    return {n: loss.detach().cpu() for n, loss in losses.items()}, gradients


@DETECTORS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_cuda_trains_every_detector_in_mixed_precision(name, dtype):
    """Every loss is finite, or the step raises; so are the gradients, once their scale is found."""
    options = ["MODEL.DEVICE", DEVICE, "INPUT.MIN_SIZE_TEST", str(min(SIZE))]
    path = ROOT / "configs" / CONFIGS[name]
    workload = Workload(path, options, size=SIZE, batch_size=2, amp_dtype=dtype)
    workload.batch[1]["instances"] = workload.batch[1]["instances"][:0]
    # GradScaler starts at 65536, halves it where a gradient overflows and leaves that step out.
    for _ in range(10 if dtype == torch.float16 else 1):
        workload.train()
    gradients = [p.grad for p in workload.model.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(gradient.norm() for gradient in gradients) > 0


@DETECTORS
def test_cuda_float16_detects_nearly_the_same(name):
    _, model, cfg = on_both(name)
    expected = scores(model)
    cfg.INFERENCE.DTYPE = "float16"
    assert_same_scores(scores(prepare_for_inference(model, cfg.INFERENCE)), expected, 0.05)


@pytest.mark.parametrize("name", ["sparse_rcnn", "yolov8"])  # half a minute each
def test_cuda_graphs_detect_the_same(name):
    _, model, cfg = on_both(name)
    expected = scores(model)
    cfg.INFERENCE.COMPILE = True
    prepared = prepare_for_inference(model, cfg.INFERENCE)
    for _ in range(3):  # the first runs warm up and record the graph
        assert_same_scores(scores(prepared), expected, 1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_cuda_trains_in_mixed_precision_and_resumes(tmp_path, dtype):
    register_tiny_datasets(tmp_path)
    options = ("MODEL.DEVICE", "cuda", "SOLVER.AMP.ENABLED", True, "SOLVER.AMP.DTYPE", dtype)

    def train(iterations, resume):
        cfg = tiny_cfg(tmp_path / "out", *options, "SOLVER.MAX_ITER", iterations)
        trainer = BCCDTrainer(cfg)
        trainer.resume_or_load(resume=resume)
        trainer.train()
        return trainer

    first = train(3, False)
    assert first._trainer.grad_scaler.is_enabled() == (dtype == "float16")
    second = train(6, True)
    assert second.start_iter == 3
    lines = [json.loads(x) for x in (tmp_path / "out/metrics.json").read_text().splitlines()]
    assert all(0 < line["total_loss"] < 10 for line in lines if "total_loss" in line)


def test_cuda_under_torchrun_communicates_over_nccl(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"),
            *("train_net.py", "--config-file", "configs/SSD/ssd_lite_bccd.yaml"),
            *("DATASETS.TRAIN", "('smears_val',)", "DATASETS.VAL", "()", "SOLVER.MAX_ITER", "2"),
            *("SOLVER.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0"),
            *("OUTPUT_DIR", str(tmp_path)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "model_final.pth").is_file()
