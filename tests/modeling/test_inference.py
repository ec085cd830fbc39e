"""A model that is prepared for inference gives what it gave before."""

import copy

import pytest
import torch
from detectron2.layers import FrozenBatchNorm2d
from detectron2.modeling import build_model
from torch import nn

from bccd.modeling.inference import prepare_for_inference

CONFIGS = [
    "SparseRCNN/sparse_rcnn_lite_bccd.yaml",
    "SparseRCNN/sparse_rcnn_r50_100pro_bccd.yaml",
    "SSD/ssd_lite_bccd.yaml",
    "SSD/ssd300_vgg16_bccd.yaml",
]


@pytest.fixture(params=CONFIGS)
def model(cfg, request):
    cfg.merge_from_file(str(request.config.rootpath / "configs" / request.param))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, FrozenBatchNorm2d)):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    return model


def test_detections_are_those_of_the_trained_model(model):
    images = [{"image": torch.randint(0, 256, (3, 300, 300), dtype=torch.uint8)}]
    prepared = prepare_for_inference(copy.deepcopy(model))
    assert not any(isinstance(m, (nn.BatchNorm2d, FrozenBatchNorm2d)) for m in prepared.modules())
    with torch.no_grad():
        for before, after in zip(model(images), prepared(images), strict=True):
            before, after = before["instances"], after["instances"]
            assert len(before) > 0
            torch.testing.assert_close(after.scores, before.scores, atol=1e-4, rtol=1e-4)


def test_a_model_in_training_is_refused(model):
    with pytest.raises(ValueError, match="eval mode"):
        prepare_for_inference(model.train())
