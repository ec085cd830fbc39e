"""YOLOv8: no anchor boxes, no objectness. Importing it registers the detector."""

from bccd.projects.yolov8.backbone import build_yolov8_backbone, build_yolov8_pan_backbone
from bccd.projects.yolov8.config import add_config
from bccd.projects.yolov8.detector import YOLOv8
