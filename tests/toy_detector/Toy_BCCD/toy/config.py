"""Config keys of the toy detector."""

from detectron2.config import CfgNode as CN


def add_config(cfg: CN) -> None:
    """Add ``MODEL.Toy`` to ``cfg`` (a Detectron2 CfgNode), in place."""
    toy = cfg.MODEL.Toy = CN()
    toy.NUM_CLASSES = 3
    toy.IN_FEATURES = ["p3", "p4", "p5"]  # feature maps of MODEL.BACKBONE, from the finest on
    toy.NORM = "BN"  # of the head
    toy.SCORE_THRESH_TEST = 0.05
    toy.TOPK_CANDIDATES_TEST = 100  # best-scoring boxes of a feature map that go into NMS
    toy.NMS_THRESH_TEST = 0.6
    toy.CLASS_AGNOSTIC_NMS = True
