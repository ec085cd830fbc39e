"""SSD (arXiv 1512.02325) with the BCCD paper's losses. Importing it registers the detector."""

from bccd.modeling import backbones
from bccd.projects.ssd.config import add_config
from bccd.projects.ssd.default_boxes import SSDDefaultBoxes
from bccd.projects.ssd.detector import SSD
