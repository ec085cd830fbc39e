"""A dense detector without anchor boxes, as small as one can be; docs/adding_a_detector.md."""

from bccd.modeling import backbones
from bccd.projects.toy.config import add_config
from bccd.projects.toy.detector import Toy
