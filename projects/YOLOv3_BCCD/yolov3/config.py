"""Config keys of YOLOv3, each with its default and its meaning."""

from detectron2.config import CfgNode as CN


def add_config(cfg: CN) -> None:
    """Add ``MODEL.YOLOv3`` to ``cfg`` (a Detectron2 CfgNode), in place.

    Its defaults are Darknet's, the published form. The anchor boxes are ``MODEL.ANCHOR_GENERATOR``
    with NAME "WidthHeightAnchors" and OFFSET 0.5; the backbone is "build_darknet_backbone",
    "build_tiny_darknet_backbone" or any of Detectron2's.
    """
    yolov3 = cfg.MODEL.YOLOv3 = CN()
    yolov3.NUM_CLASSES = 3  # of the data set, without background
    # Feature maps of MODEL.BACKBONE that the head predicts on, from the finest to the coarsest.
    yolov3.IN_FEATURES = ["dark3", "dark4", "dark5"]
    # Of the head, for each feature map: CHANNELS of 1x1 convolutions, 3x3 ones have twice as many;
    # and NUM_CONVS, how many of them alternate before the branch to the next map.
    yolov3.CHANNELS = [128, 256, 512]
    yolov3.NUM_CONVS = [5, 5, 5]
    yolov3.POOLING_PYRAMID = False  # pools of 5, 9 and 13 cells at the coarsest map: YOLOv3-SPP
    # "leaky_relu", Darknet's, or "silu", the later program's; of head and Darknet backbones, as are
    # NORM, NORM_EPS and NORM_MOMENTUM.
    yolov3.ACTIVATION = "leaky_relu"
    yolov3.NORM = "BN"
    yolov3.NORM_EPS = 1e-5  # Darknet's on a GPU; the later program: 1e-3
    yolov3.NORM_MOMENTUM = 0.01  # the later program: 0.03
    # The last pool of the tiny backbone sees zeros beyond the border, as in the later program.
    yolov3.TINY_ZERO_PADDING = False
    # "darknet": normal weights, biases 0. "later": PyTorch's, and biases that expect few objects.
    yolov3.INIT = "darknet"

    # "exp": sides are the anchor's times an exponential, Darknet's. "sigmoid": the later program's,
    # up to four times the anchor's, centres up to half a cell outside.
    yolov3.BOXES = "exp"
    # "best_anchor": each box has the one anchor of the best shape, Darknet's. "neighbour_cells":
    # all whose sides differ by less than the factor MAX_RATIO, in three cells, the later program's.
    yolov3.ASSIGNMENT = "best_anchor"
    yolov3.MAX_RATIO = 4.0  # neighbour_cells only

    # "darknet": the published one, for BOXES exp and ASSIGNMENT best_anchor. "balanced": the later
    # program's CIoU and cross-entropies. "focal_giou_l1": the BCCD paper's. A node each, below.
    yolov3.LOSS = "darknet"
    darknet = yolov3.DARKNET_LOSS = CN()
    # Factors of the losses: XY_GAIN of centres, WH_GAIN of sides, OBJECTNESS_GAIN and CLASS_GAIN.
    darknet.XY_GAIN = 1.0
    darknet.WH_GAIN = 1.0
    darknet.OBJECTNESS_GAIN = 1.0
    darknet.CLASS_GAIN = 1.0
    # A prediction that overlaps a box by more is no negative; the paper says 0.5.
    darknet.IGNORE_THRESHOLD = 0.7
    balanced = yolov3.BALANCED_LOSS = CN()
    # Factors of the losses: BOX_GAIN of CIoU, OBJECTNESS_GAIN and CLASS_GAIN.
    balanced.BOX_GAIN = 0.05
    balanced.OBJECTNESS_GAIN = 1.0
    balanced.CLASS_GAIN = 0.5
    # Factors of the objectness of each feature map; tiny: [4.0, 1.0].
    balanced.BALANCE = [4.0, 1.0, 0.4]
    # Multiply gains by 3 / feature maps, that of the classes also by classes / 80, that of
    # objectness by the area of the input / 640 ** 2, as the later program.
    balanced.SCALE_GAINS = True
    focal = yolov3.FOCAL_LOSS = CN()
    focal.CLASS_WEIGHT = 1.0  # of objectness and classes
    focal.GIOU_WEIGHT = 2.0  # of the boxes
    # L1 is summed over the centre in its cell and the sides: logarithms with BOXES exp, else roots.
    focal.L1_WEIGHT = 1.0
    focal.ALPHA = 0.25  # of the focal loss
    focal.GAMMA = 2.0  # of the focal loss

    # Inference; TEST.DETECTIONS_PER_IMAGE caps what is left at the end.
    yolov3.SCORE_THRESH_TEST = 0.005
    yolov3.TOPK_CANDIDATES_TEST = 1000  # best-scoring boxes of a feature map that go into NMS
    yolov3.NMS_THRESH_TEST = 0.45  # within a class
