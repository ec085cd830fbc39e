"""The lite detectors with narrow layers and random weights."""

from pathlib import Path

import cv2
import torch
from detectron2.modeling import build_model
from torch.optim.swa_utils import update_bn

from bccd.benchmark.workload import smear_batch
from bccd.config import get_bccd_cfg
from bccd.export.check import check_images

ROOT = Path(__file__).parents[2]
THRESHOLDS = {"RBC": 0.1, "WBC": 0.2, "Platelets": 0.3}
CONFIGS = {
    "ssd": "SSD/ssd_lite_bccd.yaml",
    "sparse_rcnn": "SparseRCNN/sparse_rcnn_lite_bccd.yaml",
    "yolof": "YOLOF/yolof_lite_bccd.yaml",
    "yolov3": "YOLOv3/yolov3_lite_bccd.yaml",
    "yolov3_darknet": "YOLOv3/yolov3_lite_darknet_bccd.yaml",
    "yolov7": "YOLOv7/yolov7_lite_bccd.yaml",
    "yolov8": "YOLOv8/yolov8_lite_bccd.yaml",
}


def tiny_model(name, opts=()):
    """The lite config with narrow layers and random weights; every score differs clearly."""
    cfg = get_bccd_cfg()
    cfg.merge_from_file(str(ROOT / "configs" / CONFIGS[name]))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
    cfg.MODEL.FPN.OUT_CHANNELS = cfg.MODEL.SparseRCNN.HIDDEN_DIM = 16
    cfg.MODEL.SparseRCNN.merge_from_list(
        ["DIM_FEEDFORWARD", 16, "DIM_DYNAMIC", 4, "NUM_HEADS", 2, "NUM_PROPOSALS", 12]
    )
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 96, 128
    cfg.merge_from_list(list(opts))
    torch.manual_seed(3)
    model = build_model(cfg)
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    # Statistics of real images: through many small weights, no output would depend on the image.
    update_bn([[smear_batch(cfg, (96, 128), 3)]], model)
    return model.eval(), cfg


def small_smears():
    return check_images(lambda image: cv2.resize(image, (image.shape[1] // 5, image.shape[0] // 5)))
