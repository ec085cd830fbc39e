"""YOLOF (arXiv 2103.09460). Importing it registers the detector."""

from bccd.modeling import backbones
from bccd.projects.yolof.config import add_config
from bccd.projects.yolof.detector import YOLOF
