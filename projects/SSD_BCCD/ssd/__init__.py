"""SSD (arXiv 1512.02325) with the BCCD paper's losses. Importing it registers the detector."""

from bccd.modeling import backbones

from .config import add_config
from .detector import SSD
