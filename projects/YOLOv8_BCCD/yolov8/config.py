"""Config keys of YOLOv8, each with its default and its meaning."""

from detectron2.config import CfgNode as CN


def add_config(cfg: CN) -> None:
    """Add ``MODEL.YOLOv8`` to ``cfg`` (a Detectron2 CfgNode), in place.

    MODEL.ANCHOR_GENERATOR has the cells: SIZES [[8], [16], [32]], one ASPECT_RATIOS, OFFSET 0.5.
    """
    yolo = cfg.MODEL.YOLOv8 = CN()
    yolo.NUM_CLASSES = 3  # of the data set, without background
    _add_architecture(yolo)
    _add_assignment_and_losses(yolo)
    # Inference; TEST.DETECTIONS_PER_IMAGE caps what is left at the end.
    yolo.SCORE_THRESH_TEST = 0.001
    yolo.TOPK_CANDIDATES_TEST = 1000  # best-scoring boxes of a feature map that go into NMS
    yolo.NMS_THRESH_TEST = 0.7  # within a class


def _add_architecture(yolo):
    # Published: n 0.33, 0.25, 1024; s 0.33, 0.50, 1024; m 0.67, 0.75, 768; l 1, 1, 512; x 1, 1.25,
    # 512.
    yolo.DEPTH = 0.33  # times 3, 6, 6 and 3: bottlenecks of the stages
    yolo.WIDTH = 0.25  # times 64, 128, 256, 512 and 1024, at most MAX_CHANNELS: channels
    yolo.MAX_CHANNELS = 1024
    yolo.NORM = "BN"  # of every convolution but the last of the head
    yolo.IN_FEATURES = ["p3", "p4", "p5"]  # of MODEL.BACKBONE, from the finest on
    yolo.BINS = 16  # distances 0, 1, ... in strides, over which each side is a distribution
    yolo.BOX_BIAS = 1.0  # at the start; 2.0 in releases from 8.4 on
    # Class scores start at this many objects in 640 x 640 pixels, spread over the classes.
    yolo.PRIOR_OBJECTS = 5.0


def _add_assignment_and_losses(yolo):
    # Alignment of a cell and a ground truth: score ** ALPHA * CIoU ** BETA.
    yolo.ALPHA = 0.5
    yolo.BETA = 6.0  # see ALPHA
    yolo.TOPK = 10  # cells of a ground truth at most, those of the largest alignment
    # A side of a ground truth below SMALL_SIDE pixels counts as WIDENED_SIDE where cells are sought
    # inside of it. 0: none, as in releases to 8.3; 8: as in 8.4.0; 16: as in 8.4.190.
    yolo.SMALL_SIDE = 0.0
    yolo.WIDENED_SIDE = 16.0  # in pixels, see SMALL_SIDE

    # "bce_ciou_dfl": YOLOv8's own. "focal_giou_l1": focal loss, GIoU and L1, the BCCD paper's.
    yolo.LOSS = "bce_ciou_dfl"
    yolo.CLASS_WEIGHT = 0.5  # bce_ciou_dfl only
    yolo.BOX_WEIGHT = 7.5  # bce_ciou_dfl only
    yolo.DFL_WEIGHT = 1.5  # bce_ciou_dfl only; the loss is the mean of the four sides
    # bce_ciou_dfl only: multiply the losses by the number of images, as the released program does.
    # Of the optimizers AdamW does not care; a clipped gradient does.
    yolo.TIMES_BATCH = True
    yolo.FOCAL_WEIGHT = 1.0  # focal_giou_l1 only
    yolo.FOCAL_ALPHA = 0.25  # focal_giou_l1 only
    yolo.FOCAL_GAMMA = 2.0  # focal_giou_l1 only
    yolo.GIOU_WEIGHT = 2.0  # focal_giou_l1 only
    yolo.L1_WEIGHT = 0.25  # focal_giou_l1 only; L1 is summed over the four sides, in strides
    # focal_giou_l1 only: train scores to be the IoU of their box (varifocal loss) instead of 1.
    yolo.QUALITY_SCORES = False
