import pytest
import torch
import torchvision
from detectron2.layers import ShapeSpec
from torch import nn

from bccd.modeling.backbones.vgg import (
    VGG16,
    L2Norm,
    build_vgg_ssd_backbone,
    convert_torchvision_vgg16,
)

SIDES = {300: [38, 19, 10, 5, 3, 1], 512: [64, 32, 16, 8, 4, 2, 1]}
CHANNELS = [512, 1024, 512, 256, 256, 256, 256]


def test_l2_norm_is_scale_times_unit_vector():
    torch.manual_seed(0)
    x, layer = torch.randn(2, 3, 4, 5), L2Norm(3)
    layer.weight.data[1] = 7.0
    y = layer(x)
    for n in range(2):
        for i in range(4):
            for j in range(5):
                vector = x[n, :, i, j]
                unit = vector / sum(v * v for v in vector) ** 0.5
                assert torch.allclose(y[n, :, i, j], unit * torch.tensor([20.0, 7.0, 20.0]))


def test_l2_norm_of_zeros_and_in_half_precision():
    x = torch.zeros(1, 4, 2, 2, requires_grad=True)
    L2Norm(4)(x).sum().backward()
    assert x.grad.isfinite().all()
    # 512 squares of 100 overflow float16.
    y = L2Norm(512)(torch.full((1, 512, 1, 1), 100.0, dtype=torch.float16))
    assert y.dtype == torch.float16
    assert torch.allclose(y.float(), torch.tensor(20 / 512**0.5), rtol=1e-3)


@pytest.mark.parametrize("size", [300, 512])
def test_feature_maps_have_the_published_sizes(size):
    with torch.device("meta"):
        backbone = VGG16(size)
        features = backbone(torch.zeros(2, 3, size, size))
    shapes = backbone.output_shape()
    assert list(features) == list(shapes)
    assert [tuple(f.shape[2:]) for f in features.values()] == [(s, s) for s in SIDES[size]]
    assert [f.shape[1] for f in features.values()] == CHANNELS[: len(features)]
    assert [shape.channels for shape in shapes.values()] == CHANNELS[: len(features)]


def test_the_published_network_has_its_number_of_parameters():
    with torch.device("meta"):
        vgg = torchvision.models.vgg16()
        backbone = VGG16(300)
    convs = sum(p.numel() for p in vgg.features.parameters())
    fc6_fc7 = 1024 * (512 * 9 + 1) + 1024 * (1024 + 1)
    extra = [(1024, 256, 512), (512, 128, 256), (256, 128, 256), (256, 128, 256)]
    extra = sum(a * b + b + 9 * b * c + c for a, b, c in extra)
    assert sum(p.numel() for p in backbone.parameters()) == convs + fc6_fc7 + extra + 512


def test_wrong_sizes_are_named():
    with torch.device("meta"):
        with pytest.raises(ValueError, match=r"320 x 427.*FIXED_SIZE"):
            VGG16(300)(torch.zeros(1, 3, 320, 427))
        with pytest.raises(ValueError, match="INPUT_SIZE is 400"):
            VGG16(400)


def test_norm_and_config(cfg):
    cfg.MODEL.VGG.NORM = "GN"
    with torch.device("meta"):
        backbone = build_vgg_ssd_backbone(cfg, ShapeSpec(channels=3))
        with pytest.raises(ValueError, match="three channels"):
            build_vgg_ssd_backbone(cfg, ShapeSpec(channels=1))
    convs = [m for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 13 + 2 + 8
    assert all(isinstance(conv.norm, nn.GroupNorm) and conv.bias is None for conv in convs)


@pytest.fixture(scope="module")
def torchvision_vgg():
    torch.manual_seed(0)
    # Its own initialisation of 138 million weights takes long.
    vgg = torchvision.models.vgg16(init_weights=False)
    return vgg.eval()


def test_torchvision_weights_give_torchvisions_features(torchvision_vgg):
    backbone = VGG16(300).eval()
    result = backbone.load_state_dict(
        convert_torchvision_vgg16(torchvision_vgg.state_dict()), strict=False
    )
    assert result.unexpected_keys == []
    assert all(k.startswith(("l2_norm", "conv8", "conv9", "conv1")) for k in result.missing_keys)
    assert not any(k.startswith(("conv1_", "conv2_")) for k in result.missing_keys)
    rgb = torch.randn(1, 3, 300, 300)
    with torch.no_grad():
        ours = backbone(rgb.flip(1))["conv4_3"]
        # Up to the ReLU of conv4_3, with the published rounding of the pooled sizes.
        theirs = rgb
        for layer in torchvision_vgg.features[:23]:
            if isinstance(layer, nn.MaxPool2d):
                layer = nn.MaxPool2d(2, ceil_mode=True)
            theirs = layer(theirs)
    theirs = 20 * theirs / theirs.norm(dim=1, keepdim=True)
    assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_fc6_and_fc7_are_every_fourth_output_and_every_third_tap(torchvision_vgg):
    converted = convert_torchvision_vgg16(torchvision_vgg.state_dict())
    fc6, fc7 = torchvision_vgg.classifier[0], torchvision_vgg.classifier[3]
    assert converted["conv6.weight"].shape == (1024, 512, 3, 3)
    assert converted["conv7.weight"].shape == (1024, 1024, 1, 1)
    for out, channel, i, j in [(0, 0, 0, 0), (5, 7, 1, 2), (1023, 511, 2, 2)]:
        expected = fc6.weight[4 * out, channel * 49 + 3 * i * 7 + 3 * j]
        assert converted["conv6.weight"][out, channel, i, j] == expected
    assert converted["conv6.bias"][9] == fc6.bias[36]
    assert converted["conv7.weight"][3, 11, 0, 0] == fc7.weight[12, 44]
    assert converted["conv7.bias"][1023] == fc7.bias[4092]


def test_other_weights_are_refused(torchvision_vgg):
    with torch.device("meta"):
        vgg11 = torchvision.models.vgg11(init_weights=False).state_dict()
        resnet = torchvision.models.resnet18().state_dict()
    for other in (vgg11, resnet, {**torchvision_vgg.state_dict(), "classifier.3.weight": fc(10)}):
        with pytest.raises(ValueError, match=r"not the weights of torchvision\.models\.vgg16"):
            convert_torchvision_vgg16(other)


def fc(outputs):
    return torch.zeros(outputs, 4096)
