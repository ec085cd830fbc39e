"""What runs on a GPU gives what the CPU gives. Every test needs a CUDA device."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.structures import Boxes, Instances
from tiny_detectors import CONFIGS, small_smears, tiny_model
from tiny_training import register_tiny_datasets, tiny_cfg

from bccd.engine.trainer import BCCDTrainer
from bccd.modeling.fast_inference.prepare import prepare_for_inference

ROOT = Path(__file__).parents[1]
pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DETECTORS = pytest.mark.parametrize("name", CONFIGS)


@pytest.fixture(autouse=True)
def _full_precision():
    """TF32, cuDNN's default, rounds convolutions to ten bits."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


def smears():
    return [
        {"image": torch.from_numpy(image.transpose(2, 0, 1).copy())} for image in small_smears()[:2]
    ]


def on_both(name):
    model, cfg = tiny_model(name)
    on_gpu = copy.deepcopy(model).cuda()
    return model, on_gpu, cfg


def detections(model):
    with torch.no_grad():
        return [output["instances"].to("cpu") for output in model(smears())]


def assert_same(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        assert len(one) > 0
        torch.testing.assert_close(one.scores, other.scores, atol=tolerance, rtol=0)


@DETECTORS
def test_cuda_detects_what_the_cpu_detects(name):
    on_cpu, on_gpu, _ = on_both(name)
    found, expected = detections(on_gpu), detections(on_cpu)
    assert_same(found, expected, 1e-4)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(
            one.pred_boxes.tensor, other.pred_boxes.tensor, atol=1e-2, rtol=0
        )


@DETECTORS
def test_cuda_gives_the_losses_and_gradients_of_the_cpu(name):
    models = on_both(name)[:2]
    results = []
    for model in models:
        torch.manual_seed(0)
        losses = model.train()(with_truth(smears()))
        sum(losses.values()).backward()
        gradients = {n: p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
        results.append(({n: loss.detach().cpu() for n, loss in losses.items()}, gradients))
    (losses, gradients), (gpu_losses, gpu_gradients) = results
    for key, loss in losses.items():
        torch.testing.assert_close(gpu_losses[key], loss, atol=1e-3, rtol=1e-3, msg=key)
    for key, gradient in gradients.items():
        distance = (gpu_gradients[key] - gradient).norm()
        # Regions are pooled by other operators; random weights amplify the rounding (1.8% seen).
        assert distance <= 5e-2 * gradient.norm() + 1e-4, key


def with_truth(batch):
    for record in batch:
        instances = Instances(tuple(record["image"].shape[1:]))
        instances.gt_boxes = Boxes(torch.tensor([[10.0, 10, 40, 42], [50, 20, 70, 44]]))
        instances.gt_classes = torch.tensor([0, 1])
        record["instances"] = instances
    return batch


@DETECTORS
def test_cuda_float16_detects_nearly_the_same(name):
    _, model, cfg = on_both(name)
    expected = detections(model)
    cfg.INFERENCE.DTYPE = "float16"
    assert_same(detections(prepare_for_inference(model, cfg.INFERENCE)), expected, 0.05)


@DETECTORS
def test_cuda_graphs_detect_the_same(name):
    _, model, cfg = on_both(name)
    expected = detections(model)
    cfg.INFERENCE.COMPILE = True
    prepared = prepare_for_inference(model, cfg.INFERENCE)
    for _ in range(3):  # the first runs warm up and record the graph
        assert_same(detections(prepared), expected, 1e-3)


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
