"""YOLOv7 and YOLOv7-tiny (arXiv 2207.02696). Importing it registers the detector."""

from bccd.modeling import anchors
from bccd.projects.yolov7 import backbone
from bccd.projects.yolov7.config import add_config
from bccd.projects.yolov7.detector import YOLOv7
