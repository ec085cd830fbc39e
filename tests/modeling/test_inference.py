"""A detector that is prepared for inference gives what it gave before."""

import copy
import os
import shutil
import subprocess
import sys

import pytest
import torch
from detectron2.layers import Conv2d, FrozenBatchNorm2d
from detectron2.modeling import build_model
from torch import nn

from bccd.modeling.fast_inference import prepare as inference
from bccd.modeling.fast_inference.prepare import prepare_for_inference
from bccd.modeling.precision import has_fast_bfloat16

NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)
# tests/projects/test_contract.py has the lite detectors.
CONFIGS = ["SparseRCNN/sparse_rcnn_r50_100pro_bccd.yaml", "SSD/ssd300_vgg16_bccd.yaml"]
LITE = ["SparseRCNN/sparse_rcnn_lite_bccd.yaml", "SSD/ssd_lite_bccd.yaml"]


@pytest.fixture
def build(cfg, request):
    """Function of a config's name to a detector with random weights and statistics."""

    def build(name):
        cfg.merge_from_file(str(request.config.rootpath / "configs" / name))
        cfg.MODEL.WEIGHTS = ""
        torch.manual_seed(0)
        model = build_model(cfg).eval()
        for module in model.modules():
            if isinstance(module, NORMS):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
        return model

    return build


def image(seed, side=300):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (3, side, side), dtype=torch.uint8, generator=generator)
    return {"image": pixels}


def assert_same_detections(model, prepared, tolerance, side=300):
    inputs = [image(0, side), image(1, side)]
    with torch.no_grad():
        for before, after in zip(model(inputs), prepared(inputs), strict=True):
            before, after = before["instances"], after["instances"]
            assert len(before) > 0
            torch.testing.assert_close(after.scores, before.scores, atol=tolerance, rtol=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_packed_weights_keep_detections_of_images_of_any_size(build, cfg, name):
    model = build(name)
    prepared = prepare_for_inference(copy.deepcopy(model), cfg.INFERENCE)
    layers = [m for m in prepared.modules() if type(m) in (nn.Linear, nn.Conv2d, Conv2d)]
    assert not layers
    assert_same_detections(model, prepared, 1e-4)
    assert_same_detections(model, prepared, 1e-4, side=300 if "vgg" in name else 224)


@pytest.mark.parametrize("name", CONFIGS)
def test_folding_keeps_detections_and_leaves_no_batch_normalisation(build, cfg, name):
    model = build(name)
    cfg.INFERENCE.PACK = False
    prepared = prepare_for_inference(copy.deepcopy(model), cfg.INFERENCE)
    assert not any(isinstance(module, NORMS) for module in prepared.modules())
    assert_same_detections(model, prepared, 1e-4)


def test_without_folding_the_weights_are_those_of_the_checkpoint(build, cfg):
    cfg.INFERENCE.FOLD = cfg.INFERENCE.PACK = False
    model = build("SSD/ssd_lite_bccd.yaml")
    weights = copy.deepcopy(model.state_dict())
    after = prepare_for_inference(model, cfg.INFERENCE).state_dict()
    assert weights.keys() == after.keys()
    assert all(torch.equal(weights[key], after[key]) for key in weights)


@pytest.mark.skipif(not has_fast_bfloat16(), reason="this CPU has no bfloat16")
@pytest.mark.parametrize("name", LITE)
def test_mixed_precision_is_near_single_precision_and_not_equal(build, cfg, name):
    model = build(name)
    cfg.INFERENCE.DTYPE = "bfloat16"
    prepared = prepare_for_inference(copy.deepcopy(model), cfg.INFERENCE)
    assert_same_detections(model, prepared, 0.1)
    with torch.no_grad():
        exact, reduced = (m([image(0)])[0]["instances"].scores for m in (model, prepared))
    assert exact.dtype == reduced.dtype == torch.float32
    assert not torch.equal(exact, reduced)


def test_without_bfloat16_single_precision_is_used_and_said(build, cfg, monkeypatch, caplog):
    monkeypatch.setattr(inference, "has_fast_bfloat16", lambda: False)
    model = build("SSD/ssd_lite_bccd.yaml")
    cfg.INFERENCE.DTYPE = "bfloat16"
    prepared = prepare_for_inference(copy.deepcopy(model), cfg.INFERENCE)
    assert_same_detections(model, prepared, 1e-4)
    assert [record.getMessage() for record in caplog.records] == [
        "INFERENCE.DTYPE is float32 instead: this CPU has no instructions for bfloat16"
    ]


LIKE_AN_OLD_CPU = """
import torch
from torch import nn
from bccd.config import get_bccd_cfg
from bccd.modeling.fast_inference.prepare import prepare_for_inference
from bccd.modeling.precision import amp_dtype, has_fast_bfloat16

cfg = get_bccd_cfg()
cfg.SOLVER.AMP.ENABLED = True
cfg.INFERENCE.DTYPE = "bfloat16"
assert not has_fast_bfloat16()
assert amp_dtype(cfg.SOLVER.AMP, on_gpu=False) is None
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 2)).eval()
x = torch.rand(1, 3, 8, 8)
expected = model(x)
torch.testing.assert_close(prepare_for_inference(model, cfg.INFERENCE)(x), expected)
"""


def test_instructions_that_onednn_may_not_use_are_not_counted_on():
    subprocess.run(
        [sys.executable, "-c", LIKE_AN_OLD_CPU],
        check=True,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},  # read once in a process
    )


@pytest.mark.slow  # half a minute
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("name", LITE)
def test_compiled_detections_are_those_of_the_eager_model(build, cfg, name, tmp_path, monkeypatch):
    # Code compiled for other instructions (ONEDNN_MAX_CPU_ISA) may lie in the lasting cache.
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    model = build(name)
    cfg.INFERENCE.COMPILE = True
    assert_same_detections(model, prepare_for_inference(copy.deepcopy(model), cfg.INFERENCE), 1e-4)


def test_compiling_without_a_compiler_says_what_to_install(build, cfg, monkeypatch):
    monkeypatch.setenv("PATH", "")
    cfg.INFERENCE.COMPILE = True
    with pytest.raises(RuntimeError, match="install g\\+\\+"):
        prepare_for_inference(build("SSD/ssd_lite_bccd.yaml"), cfg.INFERENCE)


@pytest.mark.parametrize(
    ("name", "message"), [("int4", "bfloat16"), ("float16", "for GPUs")], ids=["unknown", "half"]
)
def test_a_type_that_does_not_work_is_refused(build, cfg, name, message):
    cfg.INFERENCE.DTYPE = name
    with pytest.raises(ValueError, match=message):
        prepare_for_inference(build("SSD/ssd_lite_bccd.yaml"), cfg.INFERENCE)


def test_a_model_in_training_is_refused(build, cfg):
    with pytest.raises(ValueError, match="eval mode"):
        prepare_for_inference(build("SSD/ssd_lite_bccd.yaml").train(), cfg.INFERENCE)
