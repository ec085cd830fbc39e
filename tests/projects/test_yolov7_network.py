"""Network, sizes and converted checkpoints of YOLOv7."""

import importlib
import importlib.util
import runpy
import sys
import types
from pathlib import Path

import pytest
import torch
from detectron2.layers import Conv2d
from detectron2.modeling import build_model
from reference_yolov7 import FORMS, Network
from torch import nn

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.engine.checkpoint import read_checkpoint
from bccd.modeling.fast_inference.prepare import fold_normalization
from bccd.projects.yolov7.convert import convert_reference

ROOT = Path(__file__).parents[2]
CONFIGS = {name: ROOT / f"configs/YOLOv7/{name}_bccd.yaml" for name in ("yolov7", "yolov7_tiny")}
OF_FORM = {"yolov7": "yolov7", "tiny": "yolov7_tiny"}


def build_on_meta(name, num_classes):
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(CONFIGS[name]))
    cfg.MODEL.DEVICE, cfg.MODEL.YOLOv7.NUM_CLASSES = "meta", num_classes
    with torch.device("meta"):
        return build_model(cfg).eval()


def count_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


def raw_maps(model, x):
    features = model.backbone(x)
    return model.head([features[name] for name in model.head_in_features])


def gflops(model, height, width):
    """Twice the multiply-adds of all convolutions, in 1e9."""
    total = 0

    def add(conv, inputs, output):
        nonlocal total
        total += 2 * output[0].numel() * conv.weight[0].numel()

    handles = [m.register_forward_hook(add) for m in model.modules() if isinstance(m, nn.Conv2d)]
    with torch.no_grad():
        raw_maps(model, torch.empty(1, 3, height, width, device="meta"))
    for handle in handles:
        handle.remove()
    return round(total / 1e9, 1)


@pytest.mark.parametrize(
    # The authors' program keeps the implicit vectors, unused, once they are folded.
    ("name", "num_classes", "trained", "folded_with_implicit"),
    [
        ("yolov7", 80, 37_622_682, 36_907_898),
        ("yolov7", 3, 37_207_344, 36_492_560),
        ("yolov7_tiny", 80, 6_228_762, 6_221_370),
        ("yolov7_tiny", 3, 6_020_400, 6_013_008),
    ],
)
def test_the_published_sizes_before_and_after_folding(
    name, num_classes, trained, folded_with_implicit
):
    model = build_on_meta(name, num_classes)
    assert count_parameters(model) == trained
    implicit = sum(
        count_parameters(part)
        for predictor in model.head.predictors
        for part in (predictor.added, predictor.factor)
    )
    fold_normalization(model)
    assert count_parameters(model) == folded_with_implicit - implicit


def test_the_published_operations_before_and_after_folding():
    model = build_on_meta("yolov7", 80)
    assert (gflops(model, 640, 640), gflops(model, 480, 640)) == (105.8, 79.3)
    fold_normalization(model)
    assert gflops(model, 640, 640) == 104.5
    tiny = build_on_meta("yolov7_tiny", 80)
    assert (gflops(tiny, 640, 640), gflops(tiny, 480, 640)) == (13.7, 10.3)


def reference_checkpoint(form, outputs=24):
    """(network of the authors' names with random weights, all tensors of its file)."""
    network = Network(form, {}, outputs=outputs)
    with torch.no_grad():
        network(torch.rand(1, 3, 64, 64, dtype=torch.float64))
    network.fill = False
    # Single precision, as files are; the networks below compute with the same numbers in double.
    network.weights = {
        k: x.float().double() if x.is_floating_point() else x for k, x in network.weights.items()
    }
    last = f"model.{len(FORMS[form][0])}"
    anchors = torch.tensor([[[1.5, 2], [2, 4], [5, 3]]] * 3)
    own = {f"{last}.anchors": anchors, f"{last}.anchor_grid": torch.zeros(3, 1, 3, 1, 1, 2)}
    return network, {**network.weights, **own}


def load(path, config):
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(config))
    cfg.MODEL.DEVICE = "cpu"
    model = build_model(cfg).eval()
    model.load_state_dict(read_checkpoint(path)["model"])
    return model.double(), cfg


def compare(maps, expected, tolerance=1e-9):
    """Our two lists of maps with raw maps of five box outputs and classes of each anchor."""
    for logits, boxes, raw in zip(*maps, expected, strict=True):
        raw = raw.unflatten(1, (3, -1))
        for ours, theirs in ((boxes, raw[:, :, :4]), (logits, raw[:, :, 4:])):
            theirs = theirs.flatten(1, 2)
            torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("form", "tensors"), [("yolov7", 566), ("tiny", 344)])
def test_a_converted_checkpoint_computes_what_its_network_did(form, tensors):
    network, weights = reference_checkpoint(form)
    assert len(weights) == tensors
    converted = convert_reference(weights)
    assert converted.num_classes == 3
    assert converted.anchors[1].tolist() == [[24, 32], [32, 64], [80, 48]]
    model = build_on_meta(OF_FORM[form], 3).to_empty(device="cpu").double()
    model.load_state_dict(converted.weights)
    x = torch.rand(2, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        expected = network(x)
        compare(raw_maps(model, x), expected)
        fold_normalization(model)
        compare(raw_maps(model, x), expected, tolerance=1e-10)
    kinds = {type(m) for m in model.head.modules() if not list(m.children())}
    assert kinds <= {Conv2d, nn.Conv2d}


def test_the_converter_writes_weights_and_their_config(tmp_path):
    _, weights = reference_checkpoint("tiny")
    source, target = tmp_path / "a.pt", tmp_path / "out" / "a.pth"
    torch.save({"model": weights}, source)
    convert = runpy.run_path(str(ROOT / "tools/convert_yolov7.py"))["convert"]
    model, cfg = load(target, convert(source, target))
    assert cfg.MODEL.YOLOv7.NUM_CLASSES == model.num_classes == 3
    assert cfg.MODEL.ANCHOR_GENERATOR.SIZES[1] == [[24, 32], [32, 64], [80, 48]]
    assert cfg.MODEL.CLASS_NAMES == () and cfg.MODEL.YOLOv7.ACTIVATION == "leaky_relu"
    name, weight = "model.40.conv.weight", model.backbone.lateral4.weight
    torch.testing.assert_close(weight, weights[name], rtol=1e-6, atol=0)


def test_a_file_with_folded_heads_names_its_classes(tmp_path, monkeypatch):
    _, weights = reference_checkpoint("tiny", outputs=21)
    weights = {k: x for k, x in weights.items() if not k.endswith("implicit")}
    program = types.ModuleType("models.yolo")

    class Model(nn.Module):
        names = None

    Model.__module__, Model.__qualname__, program.Model = "models.yolo", "Model", Model
    module = Model()
    for name, tensor in weights.items():
        *path, leaf = name.split(".")
        part = module
        for key in path:
            if key not in part._modules:
                part.add_module(key, Model())
            part = part._modules[key]
        part.register_buffer(leaf, tensor.half() if tensor.is_floating_point() else tensor)
    module.__dict__["names"] = ["erythrocyte", "thrombocyte"]
    source, target = tmp_path / "best.pt", tmp_path / "best.pth"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "models", types.ModuleType("models"))
        patch.setitem(sys.modules, "models.yolo", program)
        torch.save({"epoch": 3, "model": module, "ema": None}, source)
    convert = runpy.run_path(str(ROOT / "tools/convert_yolov7.py"))["convert"]
    config = convert(source, target, activation="silu")
    model, cfg = load(target, config)
    assert cfg.MODEL.CLASS_NAMES == ("erythrocyte", "thrombocyte")
    assert cfg.MODEL.YOLOv7.ACTIVATION == "silu"
    assert read_checkpoint(target)["class_names"] == ["erythrocyte", "thrombocyte"]
    predictor = model.head.predictors[1]
    assert not predictor.added.bias.any() and (predictor.factor.bias == 1).all()


def test_other_files_are_refused(tmp_path):
    _, weights = reference_checkpoint("tiny")
    shorter = {k: x for k, x in weights.items() if k != "model.9.bn.bias"}
    for changed, message in (
        ({"model.28.anchors": torch.ones(3, 3, 2)}, "no model of YOLOv7"),
        ({**weights, "model.0.conv.bias": torch.zeros(32)}, "inside the convolutions"),
        (shorter, r"it lacks model\.9\.bn\.bias"),
        ({**weights, "model.78.weight": torch.zeros(1)}, r"not known: model\.78\.weight"),
    ):
        with pytest.raises(ValueError, match=message):
            convert_reference(changed)
    source = tmp_path / "a.pt"
    wider = {**weights, "model.0.conv.weight": torch.zeros(48, 3, 3, 3)}
    torch.save({"model": wider}, source)
    convert = runpy.run_path(str(ROOT / "tools/convert_yolov7.py"))["convert"]
    with pytest.raises(ValueError, match=r"stem\.0\.weight is \(48, 3, 3, 3\)"):
        convert(source, tmp_path / "a.pth")


def libre_yolov7():
    """LibreYOLO's model, without what the import of its package would import."""
    found = importlib.util.find_spec("libreyolo")
    if found is None:
        pytest.skip("needs LibreYOLO: pip install --no-deps libreyolo==1.6.0")
    package = types.ModuleType("libre_yolo7")
    package.__path__ = [str(Path(found.origin).parent / "models/yolo7")]
    sys.modules["libre_yolo7"] = package
    return importlib.import_module("libre_yolo7.net").YOLOv7Model(num_classes=3)


LIBRE_NAMES = {
    "pre_conv.0": "cv1",
    "short_conv": "cv2",
    "pre_conv.1": "cv3",
    "pre_conv.2": "cv4",
    "post_conv.0": "cv5",
    "post_conv.1": "cv6",
    "merge_conv": "cv7",
    "conv1.conv": "rbr_dense.0",
    "conv1.bn": "rbr_dense.1",
    "conv2.conv": "rbr_1x1.0",
    "conv2.bn": "rbr_1x1.1",
    **{f"heads.{i}.head_conv": f"m.{i}" for i in range(3)},
    **{f"heads.{i}.implicit_a": f"ia.{i}" for i in range(3)},
    **{f"heads.{i}.implicit_m": f"im.{i}" for i in range(3)},
}


def reference_name(name):
    _, number, rest = name.split(".", 2)
    for theirs, ours in LIBRE_NAMES.items():
        if rest.startswith(f"{theirs}."):
            rest = ours + rest.removeprefix(theirs)
    return f"model.{int(number)}.{rest}"


def test_the_permissive_release_computes_the_same():
    libre = libre_yolov7().double().eval()
    # It reads the map of stride 8 before its last convolution, layer 24; the paper's has it after.
    assert libre._sources[66] == 24
    libre._sources[66] = 25
    for module in libre.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
        if type(module).__name__ == "SPPCSPConv":
            # It pools in series, over 5, 9 and 13; the authors' program at once, which is this.
            for pool in module.pools:
                pool.pool.kernel_size, pool.pool.padding = 5, 2
    weights = {reference_name(name): x for name, x in libre.state_dict().items()}
    weights["model.105.anchors"] = torch.ones(3, 3, 2)
    model = build_on_meta("yolov7", 3).to_empty(device="cpu").double()
    model.load_state_dict(convert_reference(weights).weights)
    x = torch.rand(1, 3, 64, 96, dtype=torch.float64)
    with torch.no_grad():
        compare(raw_maps(model, x), libre(x))
