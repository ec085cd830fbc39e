"""Config keys of SSD, each with its default and its meaning."""

from detectron2.config import CfgNode as CN


def add_config(cfg: CN) -> None:
    """Add ``MODEL.SSD`` and ``MODEL.VGG`` to ``cfg`` (a Detectron2 CfgNode), in place.

    The default boxes are ``MODEL.ANCHOR_GENERATOR`` with NAME "SSDDefaultBoxes".
    """
    ssd = cfg.MODEL.SSD = CN()
    ssd.NUM_CLASSES = 3  # of the data set, without background
    # Feature maps of MODEL.BACKBONE that the head predicts on, from the finest to the coarsest.
    ssd.IN_FEATURES = ["conv4_3", "conv7", "conv8_2", "conv9_2", "conv10_2", "conv11_2"]
    # 3x3 convolutions in each branch of the head before the one that predicts; published: 0.
    ssd.NUM_CONVS = 0
    ssd.NORM = ""  # normalisation of these convolutions
    # A default box is matched to the ground truth that it overlaps most, if by at least this IoU.
    ssd.IOU_THRESHOLD = 0.5
    # Factors of the encoded deltas (dx, dy, dw, dh): one over the published "variances".
    ssd.BBOX_REG_WEIGHTS = (10.0, 10.0, 5.0, 5.0)

    # "focal_giou_l1": focal loss, GIoU and L1, the BCCD paper's. "multibox": softmax cross-entropy
    # with hard-negative mining and smooth L1, SSD's own; refuses QUALITY_SCORES,
    # MODEL.MISSING_LABELS and INPUT.UNLABELLED_IF_ABSENT.
    ssd.LOSS = "focal_giou_l1"
    ssd.CLASS_WEIGHT = 1.0  # of the classification loss, of either kind
    ssd.GIOU_WEIGHT = 2.0  # focal_giou_l1 only
    ssd.L1_WEIGHT = 0.25  # focal_giou_l1 only; L1 is summed over the four encoded deltas
    ssd.SMOOTH_L1_WEIGHT = 1.0  # multibox only; likewise summed
    ssd.ALPHA = 0.25  # of the focal loss
    ssd.GAMMA = 2.0  # of the focal loss
    # focal_giou_l1 only: train scores to be the IoU of their box (varifocal loss) instead of 1.
    ssd.QUALITY_SCORES = False
    ssd.PRIOR_PROB = 0.01  # class probability that focal_giou_l1 starts from
    ssd.NEGATIVE_RATIO = 3.0  # background boxes for each matched one; multibox only

    # Inference; TEST.DETECTIONS_PER_IMAGE caps what is left at the end.
    ssd.SCORE_THRESH_TEST = 0.01
    ssd.TOPK_CANDIDATES_TEST = 400  # best-scoring boxes of a feature map that go into NMS
    ssd.NMS_THRESH_TEST = 0.45  # within a class

    vgg = cfg.MODEL.VGG = CN()
    vgg.INPUT_SIZE = 300  # 300 or 512: the side of the image and with it SSD's extra layers
    # "" is as published and needs pre-trained weights; "GN" or "BN" trains from scratch.
    vgg.NORM = ""
