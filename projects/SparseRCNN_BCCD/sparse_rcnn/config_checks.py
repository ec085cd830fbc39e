"""Keys of ``MODEL.SparseRCNN`` that contradict each other, or the backbone."""

from collections.abc import Mapping, Sequence

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from bccd.projects.sparse_rcnn.initial_boxes import INIT_BOXES
from bccd.projects.sparse_rcnn.stage import ACTIVATIONS


def check_proposals(node: CfgNode, shapes: Mapping[str, ShapeSpec]) -> None:
    """Keys of the proposals.

    Args:
        node: ``MODEL.SparseRCNN``.
        shapes: of the backbone's feature maps, by name.

    Raises:
        ValueError: they do not fit each other or the backbone.
    """
    if node.INIT_BOXES not in INIT_BOXES:
        raise ValueError(
            f"MODEL.SparseRCNN.INIT_BOXES is {node.INIT_BOXES!r}; known: {', '.join(INIT_BOXES)}"
        )
    if node.PROPOSALS not in ("learnt", "dense"):
        raise ValueError(f"MODEL.SparseRCNN.PROPOSALS is {node.PROPOSALS!r}; known: learnt, dense")
    if node.DENOISING_COPIES < 0 or not 0 <= node.DENOISING_NOISE < 1:
        raise ValueError(
            f"MODEL.SparseRCNN.DENOISING_COPIES is {node.DENOISING_COPIES}, DENOISING_NOISE "
            f"{node.DENOISING_NOISE}; use at least 0, and a share in [0, 1)"
        )
    if node.DENOISING_COPIES and not node.USE_FOCAL:
        raise ValueError("MODEL.SparseRCNN.DENOISING_COPIES needs USE_FOCAL True")
    if node.PROPOSALS == "dense" and not (node.USE_FOCAL and node.DENSE_WEIGHT > 0):
        raise ValueError(
            "MODEL.SparseRCNN.PROPOSALS dense needs DENSE_WEIGHT above 0, which trains them, and "
            "USE_FOCAL True"
        )
    if not set(node.DENSE_IN_FEATURES) <= set(shapes):
        raise ValueError(
            f"MODEL.SparseRCNN.DENSE_IN_FEATURES is {node.DENSE_IN_FEATURES}; the backbone has "
            f"{list(shapes)}"
        )


def check_head(node: CfgNode, in_features: Sequence[str], shapes: Mapping[str, ShapeSpec]) -> None:
    """Keys of the head; as :func:`check_proposals`.

    Args:
        node: ``MODEL.SparseRCNN``.
        in_features: the feature maps that the head takes.
        shapes: of the backbone's feature maps, by name.
    """
    if not set(in_features) <= set(shapes):
        raise ValueError(
            f"MODEL.ROI_HEADS.IN_FEATURES is {in_features}; the backbone has {list(shapes)}"
        )
    channels = {shapes[name].channels for name in in_features}
    if channels != {node.HIDDEN_DIM}:
        raise ValueError(
            f"MODEL.SparseRCNN.HIDDEN_DIM is {node.HIDDEN_DIM} and the feature maps in "
            f"MODEL.ROI_HEADS.IN_FEATURES have {sorted(channels)} channels; set "
            "MODEL.FPN.OUT_CHANNELS to the same number"
        )
    if node.HIDDEN_DIM % node.NHEADS:
        raise ValueError(
            f"MODEL.SparseRCNN.NHEADS {node.NHEADS} does not divide HIDDEN_DIM {node.HIDDEN_DIM}"
        )
    if node.ACTIVATION not in ACTIVATIONS:
        raise ValueError(
            f"MODEL.SparseRCNN.ACTIVATION is {node.ACTIVATION!r}; known: {', '.join(ACTIVATIONS)}"
        )
    if node.NUM_DYNAMIC != 2:
        raise ValueError(
            f"MODEL.SparseRCNN.NUM_DYNAMIC is {node.NUM_DYNAMIC}; Sparse R-CNN is defined for 2"
        )
    if node.NUM_HEADS < 1:
        raise ValueError(f"MODEL.SparseRCNN.NUM_HEADS is {node.NUM_HEADS}; at least 1 stage")
    if not 0 <= node.STAGES_TEST <= node.NUM_HEADS:
        raise ValueError(
            f"MODEL.SparseRCNN.STAGES_TEST is {node.STAGES_TEST}; give 1 to NUM_HEADS "
            f"{node.NUM_HEADS}, or 0 for all"
        )
    if not node.DEEP_SUPERVISION and node.STAGES_TEST not in (0, node.NUM_HEADS):
        raise ValueError(
            "MODEL.SparseRCNN.STAGES_TEST needs DEEP_SUPERVISION: without it the earlier stages "
            "have not learnt to predict"
        )
