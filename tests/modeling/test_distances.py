"""Distances to the sides of boxes, and their distributions, against their definitions."""

import math

import pytest
import torch

from bccd.modeling.distances import (
    DistanceDistribution,
    boxes_of_distances,
    distances_of_boxes,
    distribution_focal_loss,
)


def test_distances_and_boxes_are_the_inverse_of_each_other():
    points = torch.tensor([[4.0, 5.0], [12.0, 5.0]])
    boxes = torch.tensor([[1.0, 3.0, 9.0, 11.0], [13.0, 0.0, 20.0, 6.0]])
    distances = distances_of_boxes(points, boxes)
    assert distances.tolist() == [[3, 2, 5, 6], [-1, 5, 8, 1]]
    assert torch.equal(boxes_of_distances(points, distances), boxes)


def test_the_mean_of_each_side_has_its_own_bins():
    logits = torch.full((1, 4, 16), -100.0)
    for side, share in enumerate((0, 5, 15)):
        logits[0, side, share] = 0.0
    logits[0, 3, [2, 3]] = torch.tensor([0.75, 0.25]).log()
    distances = DistanceDistribution(16)(logits.flatten(1))
    torch.testing.assert_close(distances, torch.tensor([[0.0, 5.0, 15.0, 2.25]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_loss_is_the_cross_entropy_with_the_two_nearest_bins(dtype):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 64, generator=generator, dtype=dtype, requires_grad=True)
    targets = torch.tensor([[0.0, 1.25, 7.0, 14.99], [-3.0, 15.0, 99.0, 2.5], [3.9, 3.1, 0.5, 9.0]])
    loss = distribution_focal_loss(logits, targets)
    assert loss.dtype == dtype and loss.shape == (3, 4)
    for row in range(3):
        for side in range(4):
            target = min(max(targets[row, side].item(), 0.0), 14.99)
            below = math.floor(target)
            values = logits[row, 16 * side : 16 * side + 16].tolist()
            norm = math.log(sum(math.exp(v) for v in values))
            expected = (below + 1 - target) * (norm - values[below]) + (target - below) * (
                norm - values[below + 1]
            )
            assert loss[row, side].item() == pytest.approx(expected, rel=1e-5)
    loss.sum().backward()
    assert logits.grad.isfinite().all()


def test_a_distribution_that_says_the_target_has_the_least_loss():
    target = torch.tensor([[2.25] * 4])
    right = torch.tensor([-99.0] * 2 + [math.log(0.75), math.log(0.25)] + [-99.0] * 12).repeat(1, 4)
    right.requires_grad_()
    loss = distribution_focal_loss(right, target)
    # That is the entropy of the target itself.
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    torch.testing.assert_close(loss, torch.full((1, 4), entropy))
    loss.sum().backward()
    torch.testing.assert_close(right.grad, torch.zeros_like(right))
    assert (distribution_focal_loss(torch.zeros(1, 64), target) > loss).all()


def test_autocast_does_not_round_distances():
    logits = torch.randn(5, 64)
    distances = DistanceDistribution(16)
    expected = distances(logits)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(distances(logits), expected)
    torch.testing.assert_close(distances.double()(logits.double()).float(), expected)
