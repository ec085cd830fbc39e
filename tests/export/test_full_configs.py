"""The full configs, with random weights."""

from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model

from bccd.data.augmentation import build_augmentations
from bccd.export.check import check_images, find_differences
from bccd.export.detector import exportable
from bccd.export.export import export_detector
from bccd.export.metadata import Metadata
from bccd.export.onnx_file import trace, write_onnx
from bccd.export.runtime import load

CONFIGS = Path(__file__).parents[2] / "configs"


def build(cfg, config):
    cfg.merge_from_file(str(CONFIGS / config))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    resize = build_augmentations(cfg, is_train=False)[0]
    images = check_images(lambda image: resize.get_transform(image).apply_image(image), count=1)
    torch.manual_seed(0)
    return build_model(cfg).eval(), images


@pytest.mark.slow
def test_sparse_rcnn_r50(cfg, tmp_path):
    model, images = build(cfg, "SparseRCNN/sparse_rcnn_r50_100pro_bccd.yaml")
    found = export_detector(model, cfg, None, tmp_path / "a.onnx", images)
    assert "to 0.001" in found


@pytest.mark.slow
def test_ssd512_vgg16(cfg, tmp_path):
    model, images = build(cfg, "SSD/ssd512_vgg16_bccd.yaml")
    detector = exportable(model)
    strings = Metadata.build(cfg, None, detector.max_detections).to_strings()
    write_onnx(trace(detector, cfg.INPUT.FIXED_SIZE), tmp_path / "a.onnx", strings)
    # Untrained and without normalisation, eager rounding alone moves boxes by 0.004 pixels: against
    # float64, the features of ONNX Runtime are the nearer ones by a factor of 7 to 11.
    runtime = load("onnx", tmp_path / "a.onnx")
    assert find_differences(detector, runtime, images, tolerance=1e-2) == []
