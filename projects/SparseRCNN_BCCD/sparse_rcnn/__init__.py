"""Sparse R-CNN (arXiv 2011.12450), registered as meta-architecture ``SparseRCNN`` on import."""

from bccd.modeling import backbones
from bccd.projects.sparse_rcnn.config import add_config
from bccd.projects.sparse_rcnn.detector import SparseRCNN

__all__ = ["SparseRCNN", "add_config"]
