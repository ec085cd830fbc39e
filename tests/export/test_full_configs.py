"""The full configs, with random weights."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from bccd.data.transforms.augmentation import build_augmentations
from bccd.export.check import check_images
from bccd.export.save import FORMATS, export_detector
from bccd.modeling.fast_inference.compiler import has_compiler

CONFIGS = Path(__file__).parents[2] / "configs"


def build(cfg, config):
    cfg.merge_from_file(str(CONFIGS / config))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    resize = build_augmentations(cfg, is_train=False)[0]
    images = check_images(lambda image: resize.get_transform(image).apply_image(image), count=1)
    torch.manual_seed(0)
    return build_model(cfg).eval(), images


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "config", ["SparseRCNN/sparse_rcnn_r50_100pro_bccd.yaml", "SSD/ssd512_vgg16_bccd.yaml"]
)
def test_the_exported_file_detects_what_the_eager_model_does(cfg, tmp_path, config, suffix):
    if suffix == ".pt2" and not has_compiler():
        pytest.skip("needs a C++ compiler")
    model, images = build(cfg, config)
    found = export_detector(model, cfg, None, tmp_path / f"a{suffix}", images)
    assert "to 0.001" in found
