import math

import pytest
import torch
from detectron2.modeling.box_regression import Box2BoxTransform

from bccd.modeling.missing_labels import MissingLabels
from bccd.projects.ssd.losses import FocalGIoUL1Loss, MultiBoxLoss

K = 3
TRANSFORM = Box2BoxTransform(weights=(10.0, 10.0, 5.0, 5.0))


def random_case(num_scores, seed=0, images=3, boxes=40, positives=(4, 0, 7)):
    g = torch.Generator().manual_seed(seed)
    low = torch.rand(boxes, 2, generator=g) * 50
    anchors = torch.cat([low, low + 5 + torch.rand(boxes, 2, generator=g) * 30], dim=1)
    labels = torch.full((images, boxes), K)
    for image, count in enumerate(positives):
        chosen = torch.randperm(boxes, generator=g)[:count]
        labels[image, chosen] = torch.randint(0, K, (count,), generator=g)
    targets = anchors + torch.rand(images, boxes, 4, generator=g)
    logits = torch.randn(images, boxes, num_scores, generator=g)
    deltas = torch.randn(images, boxes, 4, generator=g)
    return logits.requires_grad_(), deltas.requires_grad_(), labels, targets, anchors


def naive_encode(anchor, box):
    aw, ah = anchor[2] - anchor[0], anchor[3] - anchor[1]
    w, h = box[2] - box[0], box[3] - box[1]
    dx = (box[0] + w / 2 - anchor[0] - aw / 2) / aw
    dy = (box[1] + h / 2 - anchor[1] - ah / 2) / ah
    return [dx / 0.1, dy / 0.1, math.log(w / aw) / 0.2, math.log(h / ah) / 0.2]


def naive_decode(anchor, delta):
    aw, ah = anchor[2] - anchor[0], anchor[3] - anchor[1]
    cx = anchor[0] + aw / 2 + 0.1 * delta[0] * aw
    cy = anchor[1] + ah / 2 + 0.1 * delta[1] * ah
    w, h = aw * math.exp(0.2 * delta[2]), ah * math.exp(0.2 * delta[3])
    return [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]


def area(box):
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def naive_giou(a, b):
    lows, highs = [[f(p, q) for p, q in zip(a, b, strict=True)] for f in (max, min)]
    inner = area(lows[:2] + highs[2:])
    outer = area(highs[:2] + lows[2:])
    union = area(a) + area(b) - inner
    return inner / union - (outer - union) / outer


def focal_loss(
    alpha=0.25, gamma=2.0, weights=(1.0, 1.0, 1.0), quality_scores=False, missing_labels=None
):
    return FocalGIoUL1Loss(
        TRANSFORM,
        alpha=alpha,
        gamma=gamma,
        class_weight=weights[0],
        giou_weight=weights[1],
        l1_weight=weights[2],
        prior_prob=0.01,
        quality_scores=quality_scores,
        missing_labels=missing_labels,
    )


def multibox_loss(ratio=3.0, weights=(1.0, 1.0)):
    return MultiBoxLoss(
        TRANSFORM, negative_ratio=ratio, class_weight=weights[0], smooth_l1_weight=weights[1]
    )


def test_focal_giou_l1_against_a_loop():
    logits, deltas, labels, targets, anchors = random_case(K)
    losses = focal_loss(weights=(2.0, 3.0, 5.0))(logits, deltas, labels, targets, anchors)
    cls = giou = l1 = 0.0
    matched = 0
    for n in range(labels.shape[0]):
        for a in range(labels.shape[1]):
            label = int(labels[n, a])
            for k in range(K):
                p = 1 / (1 + math.exp(-logits[n, a, k].item()))
                if k == label:
                    cls += -0.25 * (1 - p) ** 2 * math.log(p)
                else:
                    cls += -0.75 * p**2 * math.log(1 - p)
            if label == K:
                continue
            matched += 1
            anchor, target = anchors[a].tolist(), targets[n, a].tolist()
            delta = deltas[n, a].tolist()
            giou += 1 - naive_giou(naive_decode(anchor, delta), target)
            encoded = naive_encode(anchor, target)
            l1 += sum(abs(d - e) for d, e in zip(delta, encoded, strict=True))
    assert matched == 11
    expected = {
        "loss_cls": 2 * cls / matched,
        "loss_giou": 3 * giou / matched,
        "loss_l1": 5 * l1 / matched,
    }
    assert {k: pytest.approx(v, rel=1e-4) for k, v in expected.items()} == {
        k: v.item() for k, v in losses.items()
    }


def test_quality_scores_are_pulled_to_the_iou_of_the_box():
    anchors = torch.tensor([[0.0, 0, 10, 10], [30, 30, 40, 40]])
    labels = torch.tensor([[1, K]])
    targets = torch.tensor([[[0.0, 0, 10, 8], [0, 0, 0, 0]]])  # IoU 0.8 with its default box
    logits = torch.zeros(1, 2, K, requires_grad=True)
    loss = focal_loss(quality_scores=True)
    losses = loss(logits, torch.zeros(1, 2, 4), labels, targets, anchors)
    losses["loss_cls"].backward()
    p = 0.5
    negative = 0.75 * p**2 * -math.log(1 - p)
    positive = 0.8 * -(0.8 * math.log(p) + 0.2 * math.log(1 - p))
    assert losses["loss_cls"].item() == pytest.approx(positive + 5 * negative, rel=1e-5)
    assert logits.grad[0, 0, 1] == pytest.approx(0.8 * (p - 0.8), rel=1e-5)


def test_background_of_a_class_without_annotation_costs_nothing():
    case = random_case(K)
    unlabelled = torch.zeros(3, K, dtype=torch.bool)
    unlabelled[1, 0] = True  # the second image has no matched box
    losses = focal_loss(missing_labels=MissingLabels(K))(*case, unlabelled)
    losses["loss_cls"].backward()
    assert (case[0].grad[1, :, 0] == 0).all() and (case[0].grad[1, :, 1:] != 0).all()
    assert (case[0].grad[[0, 2]] != 0).all()


@pytest.mark.parametrize("ratio", [3.0, 1.5, 100.0])
def test_multibox_against_a_loop(ratio):
    logits, deltas, labels, targets, anchors = random_case(K + 1, seed=1)
    losses = multibox_loss(ratio, (2.0, 5.0))(logits, deltas, labels, targets, anchors)
    cls = smooth_l1 = 0.0
    matched = 0
    for n in range(labels.shape[0]):
        negatives, positives = [], 0
        for a in range(labels.shape[1]):
            exps = [math.exp(v) for v in logits[n, a].tolist()]
            label = int(labels[n, a])
            loss = -math.log(exps[label] / sum(exps))
            if label == K:
                negatives.append(loss)
                continue
            positives += 1
            cls += loss
            encoded = naive_encode(anchors[a].tolist(), targets[n, a].tolist())
            for d, e in zip(deltas[n, a].tolist(), encoded, strict=True):
                diff = abs(d - e)
                smooth_l1 += diff * diff / 2 if diff < 1 else diff - 0.5
        cls += sum(sorted(negatives, reverse=True)[: math.ceil(ratio * positives)])
        matched += positives
    assert losses["loss_cls"].item() == pytest.approx(2 * cls / matched, rel=1e-4)
    assert losses["loss_smooth_l1"].item() == pytest.approx(5 * smooth_l1 / matched, rel=1e-4)


@pytest.mark.parametrize(("loss", "scores"), [(focal_loss(), K), (multibox_loss(), K + 1)])
def test_no_positives_at_all(loss, scores):
    logits, deltas, labels, targets, anchors = random_case(scores, positives=(0, 0, 0))
    losses = loss(logits, deltas, labels, targets, anchors)
    sum(losses.values()).backward()
    assert all(value.isfinite() for value in losses.values())
    assert all(value == 0 for name, value in losses.items() if name != "loss_cls")
    # Every prediction takes part in the graph, which DistributedDataParallel requires.
    assert logits.grad.isfinite().all() and deltas.grad.eq(0).all()


@pytest.mark.parametrize(("loss", "scores"), [(focal_loss(), K), (multibox_loss(), K + 1)])
def test_half_precision_predictions_give_fp32_losses(loss, scores):
    logits, deltas, labels, targets, anchors = random_case(scores)
    losses = loss(logits.bfloat16(), deltas.bfloat16(), labels, targets, anchors)
    exact = loss(logits, deltas, labels, targets, anchors)
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact[name].item(), rel=0.05)


def test_scores():
    logits = torch.randn(2, 5, K + 1)
    assert torch.allclose(focal_loss().scores(logits), 1 / (1 + (-logits).exp()))
    exps = logits.exp()
    expected = exps[..., :K] / exps.sum(dim=-1, keepdim=True)
    assert torch.allclose(multibox_loss().scores(logits), expected)
