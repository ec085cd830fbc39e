"""Config keys of Sparse R-CNN: the published names and defaults, and ours."""

from detectron2.config import CfgNode as CN


def add_config(cfg: CN) -> None:
    """Add the node ``MODEL.SparseRCNN`` to ``cfg`` (a Detectron2 CfgNode), in place.

    The region features are set by Detectron2's own keys: MODEL.ROI_HEADS.IN_FEATURES and
    MODEL.ROI_BOX_HEAD.POOLER_{RESOLUTION,SAMPLING_RATIO,TYPE}.
    """
    cfg.MODEL.SparseRCNN = CN()
    node = cfg.MODEL.SparseRCNN
    _add_proposal_config(node)
    _add_head_config(node)
    _add_loss_config(node)
    _add_inference_config(node)


def _add_proposal_config(node):
    node.NUM_CLASSES = 80  # of the data set, without background
    # Learnt boxes, each with a learnt feature: at most so many detections an image.
    node.NUM_PROPOSALS = 300

    # Where the learnt boxes start: "image", each as the whole image, as published; "grid", a fifth
    # of the image wide and high, on a grid.
    node.INIT_BOXES = "image"
    # "learnt", as published, or "dense": the best boxes of a small dense head on the feature
    # pyramid and its features at their places, as in Featurized Query R-CNN (arXiv 2206.06258).
    node.PROPOSALS = "learnt"
    # Weight of that head's losses. Above 0 with learnt proposals it trains the backbone alone,
    # which one-to-one matching leaves short of supervision on few images; unused at inference.
    node.DENSE_WEIGHT = 0.0
    node.DENSE_IN_FEATURES = ["p3", "p4", "p5"]  # feature maps of that head

    # Further proposals when training, so many for each ground-truth box: that box, displaced by up
    # to DENOISING_NOISE of its sides, to be moved back and classified. 0: none.
    node.DENOISING_COPIES = 0
    node.DENOISING_NOISE = 0.4


def _add_head_config(node):
    # Head. NUM_HEADS is the number of refinement stages, NHEADS that of attention heads: the
    # published names, which yaml files in use have.
    node.NUM_HEADS = 6
    node.NHEADS = 8
    node.HIDDEN_DIM = 256  # must equal MODEL.FPN.OUT_CHANNELS
    node.DIM_FEEDFORWARD = 2048  # hidden channels of the feed-forward layer
    node.DROPOUT = 0.0  # in attention, dynamic convolution and feed-forward layer
    node.ACTIVATION = "relu"  # of the feed-forward layer: relu or gelu
    node.NUM_CLS = 1  # layers of the class tower
    node.NUM_REG = 3  # layers of the box tower

    # Dynamic convolution: each proposal writes two 1x1 layers for its own region.
    node.NUM_DYNAMIC = 2  # as published; no other number is defined
    node.DIM_DYNAMIC = 64  # channels between the two


def _add_loss_config(node):
    # Weights of the matching cost and of the losses: CLASS_WEIGHT, GIOU_WEIGHT, L1_WEIGHT.
    node.CLASS_WEIGHT = 2.0
    node.GIOU_WEIGHT = 2.0
    node.L1_WEIGHT = 5.0
    node.DEEP_SUPERVISION = True  # losses on every stage, not on the last alone
    # Focal loss with a sigmoid per class; off: softmax with a further class "no object", without
    # QUALITY_SCORES, MODEL.MISSING_LABELS and INPUT.UNLABELLED_IF_ABSENT.
    node.USE_FOCAL = True
    node.ALPHA = 0.25  # of the focal loss
    node.GAMMA = 2.0  # of the focal loss
    node.PRIOR_PROB = 0.01  # class score at the start of training
    # Train scores to be the IoU of their box (varifocal loss) instead of 1 (focal loss).
    node.QUALITY_SCORES = False
    # Proposals that each ground-truth box is matched to, one number a stage; (): 1, as published.
    # The last should be 1: it is what makes suppression of duplicates unnecessary.
    node.REPEAT_TRUTH = ()
    node.NO_OBJECT_WEIGHT = 0.1  # of "no object" in the softmax loss


def _add_inference_config(node):
    # Detections below this score are not returned. With focal loss the output as published is the
    # NUM_PROPOSALS best (proposal, class) pairs; TEST.DETECTIONS_PER_IMAGE limits it further.
    node.SCORE_THRESH_TEST = 0.0
    # Stages to use at inference, the first of those trained; 0: all. Fewer are faster.
    node.STAGES_TEST = 0
