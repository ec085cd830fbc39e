"""Weights of Darknet and of the later program, converted and run beside a reference."""

import runpy
from pathlib import Path

import pytest
import reference_yolov3 as reference
import torch
from detectron2.modeling import build_model
from torch import nn

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.engine.checkpoint import read_checkpoint
from bccd.projects.yolov3 import convert, darknet

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "YOLOv3"
tool = runpy.run_path(str(ROOT / "tools" / "convert_yolov3.py"))
WIDTHS, UNITS = (8, 16, 16, 32, 32, 64), (1, 1, 2, 1, 1)
TINY = (8, 8, 16, 16, 32, 32, 64)
NARROW = {
    "darknet53": ["MODEL.YOLOv3.CHANNELS", "[16, 16, 32]"],
    "tiny": ["MODEL.YOLOv3.CHANNELS", "[16, 32]"],
}


@pytest.fixture(autouse=True)
def _narrow(monkeypatch):
    monkeypatch.setattr(darknet, "STEM_CHANNELS", WIDTHS[0])
    monkeypatch.setattr(darknet, "STAGES", tuple(zip(WIDTHS[1:], UNITS, strict=True)))
    monkeypatch.setattr(darknet, "TINY_CHANNELS", TINY)


def config_file(name):
    return str(CONFIGS / f"yolov3_{name}_bccd.yaml")


def load(name, weights, *options):
    """The model in float64, with the weights of a converted file."""
    cfg = get_bccd_cfg()
    merge_yaml(cfg, config_file(name))
    cfg.merge_from_list([*options, "MODEL.DEVICE", "cpu"])
    model = build_model(cfg).double().eval()
    found = model.load_state_dict(weights, strict=False)
    assert found.unexpected_keys == []
    assert all(name.endswith("num_batches_tracked") for name in found.missing_keys)
    return model


def raw_outputs(model, image):
    """(N, A * (5 + K), H, W) of each feature map, from the coarsest on, as Darknet has them."""
    features = model.backbone(image.double())
    logits, boxes = model.head([features[name] for name in model.head_in_features])
    joined = [
        torch.cat([b.unflatten(1, (3, -1)), c.unflatten(1, (3, -1))], dim=2).flatten(1, 2)
        for b, c in zip(boxes, logits, strict=True)
    ]
    return joined[::-1]


def cfg_layers(name, classes):
    outputs = 3 * (5 + classes)
    if name == "tiny":
        return reference.tiny_cfg(TINY, outputs)
    return reference.darknet_cfg(WIDTHS, UNITS, outputs)


@pytest.mark.parametrize("name", ["darknet53", "tiny"])
@pytest.mark.parametrize("cpu", [False, True])
def test_a_darknet_file_gives_darknets_outputs(name, cpu, tmp_path):
    classes = 4
    program = reference.Darknet(cfg_layers(name, classes))
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = program.run(image, cpu=cpu)
    source, target = tmp_path / "a.weights", tmp_path / "a.pth"
    source.write_bytes(program.file())
    tool["convert_darknet"](str(source), str(target), config_file(name), NARROW[name], cpu=cpu)
    options = [*NARROW[name], "MODEL.YOLOv3.NUM_CLASSES", classes]
    model = load(name, read_checkpoint(target)["model"], *options)
    with torch.no_grad():
        found = raw_outputs(model, image)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "cfg"),
    [
        ("tiny", "yolov3-tiny"),
        pytest.param("darknet53", "yolov3", marks=pytest.mark.slow),  # 62 million numbers
        pytest.param("spp", "yolov3-spp", marks=pytest.mark.slow),
    ],
)
def test_outputs_are_those_of_libreyolo(name, cfg, tmp_path, monkeypatch):
    reason = "libreyolo is optional: pip install libreyolo"
    other = pytest.importorskip("libreyolo.models.darknet", reason=reason)
    monkeypatch.undo()
    torch.manual_seed(0)
    theirs = other.build_darknet(cfg, 3).eval()
    for module in theirs.modules():
        if hasattr(module, "running_var"):
            nn.init.uniform_(module.running_var, 0.2, 1), nn.init.normal_(module.running_mean)
    source, target = tmp_path / "a.weights", tmp_path / "a.pth"
    source.write_bytes(other.save_darknet_weights(theirs))
    tool["convert_darknet"](str(source), str(target), config_file(name), cpu=True)
    image = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs.double()(image)
        found = raw_outputs(load(name, read_checkpoint(target)["model"]), image)
    for ours, of_theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, of_theirs, rtol=1e-9, atol=1e-9)


def test_files_of_a_backbone_and_of_older_versions_are_read(tmp_path):
    program = reference.Darknet(cfg_layers("darknet53", 3)[: 1 + sum(UNITS) * 3 + len(UNITS)])
    program.run(torch.zeros(1, 3, 32, 32))
    content = program.file()
    source, target = tmp_path / "backbone.conv", tmp_path / "a.pth"
    # Version 0.1 counted images in 32 bits.
    source.write_bytes(content[:4] + (1).to_bytes(4, "little") + content[8:16] + content[20:])
    tool["convert_darknet"](str(source), str(target), config_file("darknet53"), NARROW["darknet53"])
    weights = read_checkpoint(target)["model"]
    expected = build_model(_cfg("darknet53")).backbone.state_dict()
    expected = {f"backbone.{k}" for k in expected if "num_batches" not in k}
    assert weights.keys() == expected


def _cfg(name):
    cfg = get_bccd_cfg()
    merge_yaml(cfg, config_file(name))
    cfg.merge_from_list([*NARROW[name], "MODEL.DEVICE", "cpu"])
    return cfg


def test_a_damaged_file_and_one_of_another_model_are_refused(tmp_path):
    program = reference.Darknet(cfg_layers("tiny", 3))
    program.run(torch.zeros(1, 3, 32, 32))
    source, target = tmp_path / "a.weights", tmp_path / "a.pth"
    for content, message in (
        (program.file()[:-40], "a.weights has .* numbers, the model of"),
        (program.file()[:-3], "a.weights is no file of Darknet's weights"),
        (program.file()[:400], "numbers end within backbone.convs.0"),
        (b"", "a.weights is no file"),
    ):
        source.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            tool["convert_darknet"](str(source), str(target), config_file("tiny"), NARROW["tiny"])
    assert not target.exists()


class Layer(nn.Module):
    """A module of the later program: its children by name."""

    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            self.add_module(name, child)


def later_conv(in_channels, out_channels, side):
    conv = nn.Conv2d(in_channels, out_channels, side, bias=False)
    norm = nn.BatchNorm2d(out_channels)
    nn.init.normal_(norm.running_mean), nn.init.uniform_(norm.running_var, 0.5, 2)
    return Layer(conv=conv, bn=norm)


def later_tiny(classes):
    """The later program's tiny model of the narrow widths, its layers numbered as there."""
    widths = (3, *TINY)
    convs = {2 * i: later_conv(widths[i], widths[i + 1], 3) for i in range(6)}
    convs |= {13: later_conv(TINY[5], TINY[6], 3), 14: later_conv(TINY[6], 32, 1)}
    convs |= {15: later_conv(32, 64, 3), 16: later_conv(32, 16, 1), 19: later_conv(48, 32, 3)}
    layers = nn.ModuleList([convs.get(i, nn.Identity()) for i in range(20)])
    detect = Layer(m=nn.ModuleList(nn.Conv2d(c, 3 * (5 + classes), 1) for c in (32, 64)))
    anchors = [[[10, 14], [23, 27], [37, 58]], [[81, 82], [135, 169], [344, 319]]]
    strides = torch.tensor([16.0, 32])[:, None, None]
    detect.register_buffer("anchors", torch.tensor(anchors, dtype=torch.float32) / strides)
    layers.append(detect)
    model = Layer(model=layers)
    model.names = {0: "a", 1: "b"}
    return model


LATER = [
    *("MODEL.BACKBONE.NAME", "build_tiny_darknet_backbone"),
    *("MODEL.YOLOv3.IN_FEATURES", "['dark4', 'dark5']", "MODEL.YOLOv3.NUM_CONVS", "[0, 1]"),
    *("MODEL.YOLOv3.CHANNELS", "[16, 32]", "MODEL.YOLOv3.BALANCED_LOSS.BALANCE", "[4.0, 1.0]"),
]
TINY_ANCHORS = [
    "MODEL.ANCHOR_GENERATOR.SIZES",
    "[[[10, 14], [23, 27], [37, 58]], [[81, 82], [135, 169], [344, 319]]]",
]


def test_a_later_file_is_converted_in_the_order_of_its_layers(tmp_path):
    theirs = later_tiny(classes=2)
    source, target = tmp_path / "tiny.pt", tmp_path / "a.pth"
    torch.save({"model": theirs.half(), "ema": None, "epoch": -1}, source)
    tool["convert_later"](str(source), str(target), config_file("later"), [*LATER, *TINY_ANCHORS])
    found = read_checkpoint(target)
    assert found["class_names"] == ["a", "b"]
    weights, state = found["model"], theirs.float().state_dict()
    assert len(weights) == len(state) - 1 == 70  # but the anchors
    for ours, name in {
        "backbone.convs.0.weight": "model.0.conv.weight",
        "backbone.convs.6.norm.running_var": "model.13.bn.running_var",
        "head.branches.1.0.norm.weight": "model.14.bn.weight",
        "head.towers.1.weight": "model.15.conv.weight",
        "head.laterals.0.norm.bias": "model.16.bn.bias",
        "head.towers.0.weight": "model.19.conv.weight",
        "head.predictors.0.weight": "model.20.m.0.weight",
        "head.predictors.1.bias": "model.20.m.1.bias",
    }.items():
        assert torch.equal(weights[ours], state[name]), ours


def test_a_later_file_of_other_anchors_or_layers_is_refused(tmp_path):
    source, target = tmp_path / "tiny.pt", tmp_path / "a.pth"
    torch.save({"model": later_tiny(classes=2)}, source)
    message = r'tiny.pt: its anchors.*SIZES "\[\[\[10.0, 14.0\], \[23.0, 27.0\]'
    other = [*LATER, "MODEL.ANCHOR_GENERATOR.SIZES", "[[[9, 9]], [[80, 80]]]"]
    with pytest.raises(ValueError, match=message):
        tool["convert_later"](str(source), str(target), config_file("later"), other)
    more = [*LATER, *TINY_ANCHORS, "MODEL.YOLOv3.NUM_CONVS", "[2, 1]"]
    with pytest.raises(ValueError, match=r"it has 11 normalised convolutions, the model.* 13"):
        tool["convert_later"](str(source), str(target), config_file("later"), more)
    assert not target.exists()


def test_pools_of_spp_are_reordered():
    cfg = _cfg("darknet53")
    cfg.MODEL.YOLOv3.POOLING_PYRAMID = True
    model = build_model(cfg)
    name = "head.branches.2.4"
    assert convert._follows_pools(model, name)
    weights = {f"{name}.weight": model.state_dict()[f"{name}.weight"].clone()}
    before = weights[f"{name}.weight"].split(32, dim=1)
    convert._reorder_pools(weights, model)
    assert torch.equal(weights[f"{name}.weight"], torch.cat(before[::-1], dim=1))
