"""YOLOF's matching and losses of one batch, pair by pair, as the authors' program orders them."""

import math

from torch import Tensor


def box_of(delta: list[float], anchor: list[float], clamp: float = 32.0) -> list[float]:
    """XYXY of deltas (dx, dy, dw, dh) from an XYXY anchor."""
    width, height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    x = (anchor[0] + anchor[2]) / 2 + max(-clamp, min(clamp, delta[0] * width))
    y = (anchor[1] + anchor[3]) / 2 + max(-clamp, min(clamp, delta[1] * height))
    w = width * math.exp(min(delta[2], math.log(1000 / 16)))
    h = height * math.exp(min(delta[3], math.log(1000 / 16)))
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


def overlap_and_giou(a: list[float], b: list[float]) -> tuple[float, float]:
    """IoU and GIoU of two boxes with area."""
    inner = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return inner / union, inner / union - (hull - union) / hull


def distance(a: list[float], b: list[float]) -> float:
    """L1 of centres and sides."""
    centres = sum(abs(a[i] + a[i + 2] - b[i] - b[i + 2]) / 2 for i in (0, 1))
    return centres + sum(abs(a[i + 2] - a[i] - b[i + 2] + b[i]) for i in (0, 1))


def focal(logit: float, target: int) -> float:
    """Focal loss of one score, alpha 0.25 and gamma 2."""
    p = 1 / (1 + math.exp(-logit))
    right, alpha = (p, 0.25) if target else (1 - p, 0.75)
    return -alpha * (1 - right) ** 2 * math.log(right)


def losses(
    logits: Tensor,
    deltas: Tensor,
    anchors: Tensor,
    truths: list[tuple[list[list[float]], list[int]]],
    topk: int = 4,
) -> tuple[float, float, list[list[int]]]:
    """Class loss, GIoU loss and the label of every anchor of every image, -1 where ignored.

    Args:
        logits: (N, A, K), objectness inside.
        deltas: (N, A, 4).
        anchors: (A, 4).
        truths: boxes and classes of each image.
        topk: anchors, and predictions, of each ground truth.
    """
    anchors, background = anchors.tolist(), logits.shape[2]
    class_sum = box_sum = foreground = 0
    all_labels = []
    for image, (boxes, classes) in enumerate(truths):
        of_image = zip(deltas[image].tolist(), anchors, strict=True)
        predicted = [box_of(delta, anchor) for delta, anchor in of_image]
        labels = [
            -1 if any(overlap_and_giou(p, box)[0] > 0.7 for box in boxes) else background
            for p in predicted
        ]
        orders = [
            [sorted(range(len(x)), key=lambda i, b=b, x=x: distance(x[i], b)) for b in boxes]
            for x in (predicted, anchors)
        ]
        for rank in range(min(topk, len(anchors))):
            for order in orders:
                for box, kind, ranked in zip(boxes, classes, order, strict=True):
                    anchor = ranked[rank]
                    if overlap_and_giou(anchors[anchor], box)[0] < 0.15:
                        labels[anchor] = -1
                        continue
                    labels[anchor] = kind
                    box_sum += 1 - overlap_and_giou(predicted[anchor], box)[1]
        for row, label in zip(logits[image].tolist(), labels, strict=True):
            if label >= 0:
                class_sum += sum(focal(x, int(label == k)) for k, x in enumerate(row))
                foreground += label < background
        all_labels.append(labels)
    return class_sum / max(1, foreground), box_sum / max(1, foreground), all_labels
