"""Losses against loops over plain numbers."""

import math
from functools import partial

import pytest
import torch
from fvcore.nn import giou_loss as fvcore_giou_loss
from torchvision.ops import box_iou, complete_box_iou_loss, generalized_box_iou

from bccd.modeling.losses import (
    ciou,
    ciou_loss,
    giou,
    giou_loss,
    iou,
    pairwise_giou,
    pairwise_l1,
    sigmoid_focal_loss,
    varifocal_loss,
)


def naive_giou(a, b):
    """GIoU of two proper boxes, from its definition."""
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = area_a + area_b - width * height
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return width * height / union - (hull - union) / hull


def random_boxes(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(*shape, 2, generator=generator) * 400
    size = torch.rand(*shape, 2, generator=generator) * 200 + 1
    return torch.cat([corner, corner + size], dim=-1)


def test_pairwise_giou_equals_the_definition_and_torchvision():
    boxes1, boxes2 = random_boxes(3, 5), random_boxes(3, 4, seed=1)
    result = pairwise_giou(boxes1, boxes2)
    assert result.shape == (3, 5, 4)
    for n in range(3):
        torch.testing.assert_close(result[n], generalized_box_iou(boxes1[n], boxes2[n]))
        for a in range(5):
            for b in range(4):
                expected = naive_giou(boxes1[n, a].tolist(), boxes2[n, b].tolist())
                assert result[n, a, b].item() == pytest.approx(expected, abs=1e-5)


def test_giou_loss_is_the_diagonal_of_the_pairs():
    boxes1, boxes2 = random_boxes(7), random_boxes(7, seed=1)
    expected = 1 - pairwise_giou(boxes1, boxes2).diagonal()
    torch.testing.assert_close(giou_loss(boxes1, boxes2), expected)
    torch.testing.assert_close(giou_loss(boxes1, boxes1), torch.zeros(7))


def naive_ciou(a, b):
    """CIoU of two proper boxes, from its definition."""
    (wa, ha), (wb, hb) = ((x[2] - x[0], x[3] - x[1]) for x in (a, b))
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    overlap = width * height / (wa * ha + wb * hb - width * height)
    diagonal = (max(a[2], b[2]) - min(a[0], b[0])) ** 2 + (max(a[3], b[3]) - min(a[1], b[1])) ** 2
    shift = sum(((a[i] + a[i + 2] - b[i] - b[i + 2]) / 2) ** 2 for i in (0, 1))
    v = (2 / math.pi * (math.atan(wb / hb) - math.atan(wa / ha))) ** 2
    return overlap - shift / diagonal - v * v / (1 - overlap + v)


def test_ciou_equals_the_definition_and_torchvision_with_its_gradients():
    boxes1, boxes2 = random_boxes(9), random_boxes(9, seed=1)
    boxes2[0] = boxes1[0] + 1
    result = ciou(boxes1, boxes2)
    for found, a, b in zip(result.tolist(), boxes1.tolist(), boxes2.tolist(), strict=True):
        assert found == pytest.approx(naive_ciou(a, b), abs=1e-5)
    gradients = []
    for loss in (ciou_loss, complete_box_iou_loss):
        boxes = boxes1.double().requires_grad_()
        value = loss(boxes, boxes2.double())
        assert value.dtype == torch.float64
        gradients.append(torch.autograd.grad(value.sum(), boxes)[0])
    torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(ciou(boxes1, boxes1), torch.ones(9))


@pytest.mark.parametrize("unit", [1.0, 1 / 32])  # pixels, and cells of the coarsest map
def test_where_a_divisor_is_kept_from_zero_does_not_matter(unit):
    """The YOLO programs add 1e-7 to heights, YOLOF's to areas; here no divisor is less.

    Sides are from 1 to 200 pixels: a tenth of the difference that single precision makes anyway.
    """
    a, b = (random_boxes(500, seed=seed).double() * unit for seed in (0, 1))
    draw = torch.randn(250, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(9))
    b[::2] = a[::2] + draw.abs().cumsum(1) * unit / 10
    moved = [torch.cat([x[:, :3], x[:, 3:] + 1e-7], dim=1) for x in (a, b)]
    torch.testing.assert_close(ciou(*moved), ciou(a, b), rtol=0, atol=2e-6)
    expected = fvcore_giou_loss(a, b, reduction="none", eps=1e-7)
    torch.testing.assert_close(giou_loss(a, b), expected, rtol=0, atol=2e-4 * 1e-7 / unit**2 + 1e-6)


@pytest.mark.parametrize(
    "box",
    [[5.0, 5, 5, 5], [5.0, 5, 5, 9], [9.0, 9, 5, 5], [0.0, 0, 0, 0], [1e6, 1e6, 1e6, 1e6]],
)
def test_boxes_without_area_give_finite_losses_and_gradients(box):
    others = torch.tensor([box, [0.0, 0, 10, 10], [5.0, 5, 5, 5], [20.0, 20, 30, 30]])
    for box_loss, largest in ((giou_loss, 2), (ciou_loss, 3)):
        boxes = torch.tensor([box] * 4, requires_grad=True)
        loss = box_loss(boxes, others)
        assert ((loss >= 0) & (loss <= largest)).all()
        loss.sum().backward()
        assert torch.isfinite(boxes.grad).all()


def test_pairwise_l1_sums_the_four_coordinates():
    boxes1, boxes2 = random_boxes(2, 3), random_boxes(2, 6, seed=1)
    expected = torch.stack(
        [torch.stack([(a - boxes2[n]).abs().sum(-1) for a in boxes1[n]]) for n in range(2)]
    )
    torch.testing.assert_close(pairwise_l1(boxes1, boxes2), expected)


@pytest.mark.parametrize("measure", [iou, giou, ciou])
def test_boxes_in_float32_are_exact_beside_others_in_float64(measure):
    boxes1, boxes2 = random_boxes(20).double(), random_boxes(20, seed=1)
    assert torch.equal(measure(boxes1, boxes2), measure(boxes1, boxes2.double()))
    assert torch.equal(measure(boxes2, boxes1), measure(boxes2.double(), boxes1))


def test_half_precision_boxes_are_computed_in_fp32():
    boxes1, boxes2 = random_boxes(3).bfloat16(), random_boxes(3, seed=1).bfloat16()
    for result in (
        giou_loss(boxes1, boxes2),
        pairwise_giou(boxes1, boxes2),
        pairwise_l1(boxes1, boxes2),
    ):
        assert result.dtype == torch.float32
    torch.testing.assert_close(giou_loss(boxes1, boxes2), giou_loss(boxes1.float(), boxes2.float()))


def test_no_boxes_at_all():
    boxes, none = random_boxes(2, 3), torch.zeros(2, 0, 4)
    assert pairwise_giou(boxes, none).shape == (2, 3, 0)
    assert pairwise_l1(boxes, none).shape == (2, 3, 0)
    assert giou_loss(none, none).shape == (2, 0)


def test_focal_loss_is_the_formula_of_its_paper():
    logits = torch.linspace(-6, 6, 13)
    for target in (0.0, 1.0):
        p = logits.sigmoid()
        p_t = p if target else 1 - p
        alpha_t = 0.25 if target else 0.75
        expected = -alpha_t * (1 - p_t) ** 2 * p_t.log()
        result = sigmoid_focal_loss(logits, torch.full_like(logits, target), alpha=0.25, gamma=2)
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)


def test_iou_equals_torchvision():
    boxes1, boxes2 = random_boxes(5), random_boxes(4, seed=1)
    torch.testing.assert_close(iou(boxes1[:, None], boxes2), box_iou(boxes1, boxes2))


def test_varifocal_loss_is_least_where_the_score_is_the_quality():
    quality = torch.tensor([0.3, 0.9])
    logits = torch.logit(quality).requires_grad_()
    varifocal_loss(logits, quality).sum().backward()
    torch.testing.assert_close(logits.grad, torch.zeros(2))
    # An unmatched one: alpha p^gamma times the cross-entropy; a good box weighs more than a bad.
    assert varifocal_loss(torch.zeros(1), torch.zeros(1)).item() == pytest.approx(
        0.75 * 0.25 * 0.693147, rel=1e-4
    )
    good, bad = varifocal_loss(torch.full((2,), -2.0), quality.flip(0)).tolist()
    assert good > 3 * bad


@pytest.mark.parametrize(
    "loss", [varifocal_loss, partial(sigmoid_focal_loss, alpha=0.25, gamma=2.0)]
)
def test_class_losses_never_broadcast_over_classes(loss):
    logits, targets = torch.zeros(2, 5, 3), torch.zeros(2, 5, 3)
    assert loss(logits, targets).shape == (2, 5, 3)
    for wrong in (targets[..., :1], targets[..., 0], targets[:1]):
        with pytest.raises(
            ValueError, match=r"the scores have the shape \(2, 5, 3\), their targets"
        ):
            loss(logits, wrong)
    with pytest.raises(ValueError, match=r"\(2, 5, 1\), their targets \(2, 5, 3\)"):
        loss(logits[..., :1], targets)
