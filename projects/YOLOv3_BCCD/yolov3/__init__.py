"""YOLOv3 (arXiv 1804.02767). Importing it registers the detector."""

from bccd.modeling import anchors, backbones
from bccd.projects.yolov3.config import add_config
from bccd.projects.yolov3.darknet import build_darknet_backbone, build_tiny_darknet_backbone
from bccd.projects.yolov3.detector import YOLOv3
