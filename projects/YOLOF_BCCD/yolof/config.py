"""Config keys of YOLOF, each with its default and its meaning."""

from detectron2.config import CfgNode as CN


def add_config(cfg: CN) -> None:
    """Add ``MODEL.YOLOF`` to ``cfg`` (a Detectron2 CfgNode), in place.

    Its defaults are those of the published R50-C5. The anchors are ``MODEL.ANCHOR_GENERATOR``, one
    list of sizes with the aspect ratio 1 and OFFSET 0.
    """
    yolof = cfg.MODEL.YOLOF = CN()
    yolof.NUM_CLASSES = 3  # of the data set, without background
    yolof.IN_FEATURES = ["res5"]  # the one feature map of MODEL.BACKBONE that it looks at

    yolof.ENCODER = CN()
    yolof.ENCODER.NUM_CHANNELS = 512  # of the encoder's output
    yolof.ENCODER.BLOCK_MID_CHANNELS = 128  # of the 3x3 convolution in a residual block
    yolof.ENCODER.BLOCK_DILATIONS = (2, 4, 6, 8)  # one residual block each; (): no block
    yolof.ENCODER.NORM = "BN"  # after each of its convolutions

    yolof.DECODER = CN()
    yolof.DECODER.CLS_NUM_CONVS = 2  # 3x3 convolutions before the class scores
    yolof.DECODER.REG_NUM_CONVS = 4  # 3x3 convolutions before the boxes and the objectness
    yolof.DECODER.NORM = "BN"  # after each of its convolutions but the predictors
    yolof.DECODER.PRIOR_PROB = 0.01  # class probability that training starts from

    yolof.BOX_TRANSFORM = CN()
    yolof.BOX_TRANSFORM.BBOX_REG_WEIGHTS = (1.0, 1.0, 1.0, 1.0)  # factors of (dx, dy, dw, dh)
    # A predicted box is centred within this many pixels of its anchor, in x and in y.
    yolof.BOX_TRANSFORM.CTR_CLAMP = 32.0

    yolof.MATCHER = CN()
    # Anchors, and as many predictions, that each ground truth is matched with.
    yolof.MATCHER.TOPK = 4
    # A match whose anchor overlaps the ground truth by less is left out of both losses.
    yolof.MATCHER.POS_IGNORE_THRESHOLD = 0.15
    # A prediction without a match that overlaps a ground truth by more is no negative.
    yolof.MATCHER.NEG_IGNORE_THRESHOLD = 0.7

    yolof.CLASS_WEIGHT = 1.0  # of the focal loss
    yolof.GIOU_WEIGHT = 1.0  # of the GIoU loss
    # Of L1 on the encoded deltas, summed over the four; 0 as published. With it the losses are the
    # three of the BCCD paper.
    yolof.L1_WEIGHT = 0.0
    yolof.ALPHA = 0.25  # of the focal loss
    yolof.GAMMA = 2.0  # of the focal loss

    # Inference; TEST.DETECTIONS_PER_IMAGE caps what is left at the end.
    yolof.SCORE_THRESH_TEST = 0.05
    yolof.TOPK_CANDIDATES_TEST = 1000  # best pairs of an anchor and a class that go into NMS
    yolof.NMS_THRESH_TEST = 0.6  # within a class
