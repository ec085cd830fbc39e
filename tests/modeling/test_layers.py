"""Blocks that detectors are built from."""

import pytest
import torch
from detectron2.structures import Boxes, Instances
from torch import nn

from bccd.modeling.anchors import WidthHeightAnchors
from bccd.modeling.fast_inference.packed import PackedConv2d, pack_weights
from bccd.modeling.fast_inference.prepare import fold_normalization
from bccd.modeling.ground_truth import pad_ground_truth
from bccd.modeling.layers import conv_norm


@pytest.mark.parametrize("activation", ["silu", "leaky_relu", ""])
def test_a_block_is_convolution_normalisation_and_activation(activation):
    block = conv_norm(3, 4, 3, 2, activation=activation).eval()
    block.norm.running_mean.normal_()
    block.norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(block.norm.weight)
    nn.init.normal_(block.norm.bias)
    x = torch.randn(2, 3, 8, 6)
    norm = block.norm
    assert (norm.eps, norm.momentum, block.bias) == (1e-3, 0.03, None)
    expected = nn.functional.conv2d(x, block.weight, stride=2, padding=1)
    scale = norm.weight / (norm.running_var + 1e-3).sqrt()
    expected = (expected - norm.running_mean[:, None, None]) * scale[:, None, None]
    expected = expected + norm.bias[:, None, None]
    if activation == "silu":
        expected = expected / (1 + (-expected).exp())
    elif activation:
        expected = torch.where(expected > 0, expected, 0.1 * expected)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    fold_normalization(block)
    assert block.norm is None
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_a_dilated_block_keeps_the_size_and_one_without_normalisation_has_a_bias():
    assert conv_norm(2, 2, 3, dilation=4)(torch.zeros(1, 2, 9, 7)).shape == (1, 2, 9, 7)
    assert conv_norm(2, 2, norm="").bias is not None
    grouped = conv_norm(2, 32, norm="GN").norm
    assert isinstance(grouped, nn.GroupNorm) and grouped.eps == 1e-3


def test_anchors_have_the_width_and_height_that_are_asked_for():
    anchors = WidthHeightAnchors(
        sizes=[[[10, 13], [16, 30]], [[60, 44]]], aspect_ratios=[[1.0]], strides=[8, 16]
    )
    assert anchors.num_anchors == [2, 1]
    fine, coarse = anchors([torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 1)])
    expected = [[-1, -2.5, 9, 10.5], [-4, -11, 12, 19], [7, -2.5, 17, 10.5], [4, -11, 20, 19]]
    assert fine.tensor.tolist() == expected
    assert coarse.tensor.tolist() == [[-22, -14, 38, 30]]
    with pytest.raises(ValueError, match=r"WidthHeightAnchors.*got \[32\]"):
        WidthHeightAnchors(sizes=[[32]], aspect_ratios=[[1.0]], strides=[8])


def test_ground_truth_is_padded_at_the_end():
    few, none = Instances((9, 9)), Instances((9, 9))
    few.gt_boxes, few.gt_classes = Boxes(torch.tensor([[1.0, 2, 3, 4]])), torch.tensor([2])
    none.gt_boxes, none.gt_classes = Boxes(torch.zeros(0, 4)), torch.zeros(0, dtype=torch.int64)
    boxes, classes = pad_ground_truth([none, few], "cpu")
    assert boxes.tolist() == [[[0, 0, 0, 0]], [[1, 2, 3, 4]]] and classes.tolist() == [[-1], [2]]
    boxes, classes = pad_ground_truth([none, none], "cpu")
    assert boxes.shape == (2, 0, 4) and classes.shape == (2, 0)


@pytest.mark.parametrize("activation", ["silu", "relu", "leaky_relu", ""])
def test_packed_blocks_compute_the_activation_too(activation):
    block = conv_norm(16, 16, 3, activation=activation).eval()
    fold_normalization(block)
    x = torch.randn(1, 16, 9, 7).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        expected = block(x)
        pack_weights(block)
        assert type(block) is PackedConv2d or not torch.backends.mkldnn.is_available()
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
