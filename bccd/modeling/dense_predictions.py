"""What the head of a dense detector gives, with a row for each anchor; letters as in ``dense``."""

from collections.abc import Callable
from dataclasses import dataclass, field

from detectron2.structures import Boxes
from torch import Tensor


@dataclass
class DensePredictions:
    """Outputs of a head, a list entry for each feature map, from the finest on.

    Attributes:
        logits: (N, A_l, S), what ``SingleStageDetector.scores`` takes.
        boxes: (N, A_l, B), what ``SingleStageDetector.decode`` takes.
        anchors: A_l boxes, XYXY in pixels of the network's input.
        strides: pixels between neighbouring cells.
        sizes: (H, W) cells; the anchors of a cell are next to each other, then follows the cell to
            the right.
    """

    logits: list[Tensor]
    boxes: list[Tensor]
    anchors: list[Boxes]
    strides: list[float]
    sizes: list[tuple[int, int]] = field(default_factory=list)


def select_candidates(
    scores: Tensor, threshold: float, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The best pairs of an anchor and a class; an anchor may be in several.

    Args:
        scores: (A, K).
        threshold: pairs must score higher.
        count: pairs at most.

    Returns:
        scores (C,), best first, with the anchor (C,) and the class (C,) of each, int64.
    """
    chosen = scores > threshold
    pairs = chosen.nonzero()
    scores, order = scores[chosen].sort(descending=True)
    anchors, classes = pairs[order[:count]].unbind(dim=1)
    return scores[:count], anchors, classes


def decode_batch(
    decode: Callable[[Tensor, Tensor], Tensor], boxes: Tensor, anchors: Tensor
) -> Tensor:
    """Decode a batch with a function of single rows, such as ``Box2BoxTransform.apply_deltas``.

    Args:
        decode: (M, B) box outputs and (M, 4) anchors to (M, 4) boxes.
        boxes: (N, A, B) box outputs.
        anchors: (A, 4) or (N, A, 4).

    Returns:
        (N, A, 4).
    """
    count, rows, outputs = boxes.shape
    anchors = anchors.expand(count, rows, 4).flatten(0, 1)
    return decode(boxes.reshape(count * rows, outputs), anchors).view(count, rows, 4)
