"""Config keys of YOLOv7, each with its default and its meaning."""

from detectron2.config import CfgNode as CN


def add_config(cfg: CN) -> None:
    """Add ``MODEL.YOLOv7`` to ``cfg`` (a Detectron2 CfgNode), in place.

    The anchor boxes are ``MODEL.ANCHOR_GENERATOR`` with NAME "WidthHeightAnchors"; the backbone is
    "build_yolov7_backbone" or "build_yolov7_tiny_backbone".
    """
    yolov7 = cfg.MODEL.YOLOv7 = CN()
    yolov7.NUM_CLASSES = 3  # of the data set, without background
    # Feature maps of MODEL.BACKBONE that the head predicts on, from the finest to the coarsest.
    yolov7.IN_FEATURES = ["p3", "p4", "p5"]
    # Factor of all numbers of channels of the backbone, and with them of the head; published: 1.
    yolov7.WIDTH = 1.0
    yolov7.NORM = "BN"  # of every convolution but the last ones
    yolov7.ACTIVATION = "silu"  # or "leaky_relu", YOLOv7-tiny's
    # The head's convolutions are a 3x3 and a 1x1 side by side, one at inference; tiny: False.
    yolov7.REP_CONV = True

    # An anchor can predict a box if neither has a side this many times as long as the other's.
    yolov7.MAX_RATIO = 4.0
    # Of the anchors that can, each box gets its cheapest: as many as the sum of its TOPK largest
    # IoUs. The cost is that of the classes and IOU_WEIGHT times -log(IoU). Off: each gets all.
    yolov7.OTA = CN({"ENABLED": True, "TOPK": 10, "IOU_WEIGHT": 3.0})

    # "balanced": CIoU and binary cross-entropies as published. "focal_giou_l1": the BCCD paper's.
    yolov7.LOSS = "balanced"
    yolov7.BOX_GAIN = 0.05  # balanced only, as the following ones
    yolov7.OBJECTNESS_GAIN = 0.7  # tiny: 1.0
    yolov7.CLASS_GAIN = 0.3  # tiny: 0.5
    yolov7.BALANCE = [4.0, 1.0, 0.4]  # factors of the objectness of each feature map
    # Multiply gains by 3 / feature maps, that of the classes also by classes / 80, that of
    # objectness by the area of the input / 640 ** 2, as published.
    yolov7.SCALE_GAINS = True
    yolov7.CLASS_WEIGHT = 1.0  # focal_giou_l1 only, as the following ones; objectness and classes
    yolov7.GIOU_WEIGHT = 2.0  # of GIoU
    yolov7.L1_WEIGHT = 1.0  # L1 is summed over x, y and the roots of width and height
    yolov7.ALPHA = 0.25  # of the focal loss
    yolov7.GAMMA = 2.0  # of the focal loss

    # Inference; TEST.DETECTIONS_PER_IMAGE caps what is left at the end.
    yolov7.SCORE_THRESH_TEST = 0.001
    yolov7.TOPK_CANDIDATES_TEST = 1000  # best-scoring boxes of a feature map that go into NMS
    yolov7.NMS_THRESH_TEST = 0.65  # within a class
