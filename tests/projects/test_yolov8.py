"""YOLOv8: sizes as published, and outputs, assignment, losses and gradients written out again."""

import copy
import math
import runpy
import sys
import types
from pathlib import Path

import pytest
import reference_yolov8 as reference
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from fvcore.nn import FlopCountAnalysis
from torch import nn

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.engine.checkpoint import BCCDCheckpointer, read_checkpoint
from bccd.engine.checkpoint_classes import CheckpointClasses
from bccd.modeling.dense_predictions import DensePredictions
from bccd.projects.yolov8.convert import convert_reference
from bccd.projects.yolov8.detector import widen

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "YOLOv8"
SIZE = (64, 96)
MAPS = [(8, 12), (4, 6), (2, 3)]


def config(name="yolov8n_bccd", *options):
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(CONFIGS / f"{name}.yaml"))
    cfg.MODEL.DEVICE = "cpu"
    cfg.merge_from_list(list(options))
    return cfg


def on_meta(cfg):
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return build_model(cfg)


@pytest.fixture(scope="module")
def weights():
    """Random weights of YOLOv8n for three classes, by the names of the released program."""
    return reference.random_weights(3, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def loaded(weights):
    """YOLOv8n in float64 with these weights, its losses not multiplied by the number of images."""
    model = build_model(config("yolov8n_bccd", "MODEL.YOLOv8.TIMES_BATCH", False))
    model.load_state_dict(convert_reference(weights).weights)
    return model.double().eval()


def images(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (count, 3, *SIZE)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def sample(image, boxes=(), classes=()):
    instances = Instances(SIZE)
    instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
    return {"image": image, "instances": instances}


# Two that overlap, one inside another, and one too small to hold the centre of a cell.
TRUTHS = [[4.0, 6, 50, 44], [30, 10, 78, 60], [40, 20, 62, 41], [80, 50, 84, 58]]


@pytest.mark.parametrize(
    ("size", "classes", "parameters", "multiply_adds"),
    [
        *(("n", 80, 3_157_200, 4.40), ("s", 80, 11_166_560, 14.36), ("m", 80, 25_902_640, None)),
        *(("n", 3, 3_011_433, None), ("s", 3, 11_136_761, None), ("m", 3, 25_858_057, None)),
    ],
)
def test_sizes_and_operations_are_the_published_ones(size, classes, parameters, multiply_adds):
    cfg = config(f"yolov8{size}_bccd", "MODEL.YOLOv8.NUM_CLASSES", classes)
    model = build_model(cfg).eval() if multiply_adds else on_meta(cfg)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == (475 if size == "m" else 355)
    if multiply_adds:
        whole = nn.Sequential(model.backbone, _Values(), model.head)
        # A sixteenth of 640 x 640 pixels, and of the operations.
        count = FlopCountAnalysis(whole, torch.zeros(1, 3, 160, 160))
        count.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        assert 16 * count.total() / 1e9 == pytest.approx(multiply_adds, abs=0.005)


class _Values(nn.Module):
    def forward(self, maps):
        return list(maps.values())


def test_normalisation_and_biases_start_as_published():
    model = build_model(config())
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}
    for layer, bins, stride in zip(
        model.head.class_logits, model.head.box_bins, (8, 16, 32), strict=True
    ):
        expected = math.log(5 / 3 / (640 / stride) ** 2)
        assert layer.bias.tolist() == pytest.approx([expected] * 3)
        assert (bins.bias == 1.0).all()
    assert (
        build_model(config("yolov8n_bccd", "MODEL.YOLOv8.BOX_BIAS", 2.0)).head.box_bins[0].bias
        == 2.0
    ).all()


def test_outputs_and_boxes_are_those_of_the_program_written_out(weights, loaded):
    doubles = {k: v.double() if v.is_floating_point() else v for k, v in weights.items()}
    pictures = images(2)
    batch = loaded.preprocess_image([{"image": x} for x in pictures]).tensor
    expected = reference.forward(doubles, pictures.double() / 255)
    with torch.no_grad():
        maps = list(loaded.backbone(batch).values())
        outputs = loaded.head(maps)
        for found, wanted in zip(outputs, expected, strict=True):
            assert [x.shape[-2:] for x in found] == MAPS
            torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
        boxes = loaded.decode_all(loaded.dense_predictions(maps, outputs))
    assert boxes.dtype == torch.float64
    bins = torch.cat([x.flatten(2) for x in expected[1]], dim=2).transpose(1, 2)
    for a, place in enumerate(reference.cells(MAPS)):
        torch.testing.assert_close(boxes[0, a], reference.decode(bins[0, a], place))


def test_losses_and_gradients_are_those_written_out(loaded):
    generator = torch.Generator().manual_seed(1)
    shapes = [(2, rows * columns) for rows, columns in MAPS]
    logits = [torch.randn(*s, 3, generator=generator, dtype=torch.float64) - 2 for s in shapes]
    bins = [torch.randn(*s, 64, generator=generator, dtype=torch.float64) for s in shapes]
    leaves = [x.requires_grad_() for x in (*logits, *bins)]
    anchors = loaded.anchor_generator([torch.zeros(1, 1, *s) for s in MAPS])
    predictions = DensePredictions(logits, bins, anchors, [8, 16, 32])
    truths = [sample(None, *x)["instances"] for x in ((TRUTHS, [0, 1, 0, 2]), ())]
    with torch.no_grad():
        assigned = loaded.assign(predictions, truths)
    assert len(assigned.index[0]) > 15
    assert (assigned.index[0] == 0).all() and (assigned.quality[1] == 0).all()
    found = loaded.losses(predictions, assigned, None)
    found = [found[name] for name in ("loss_cls", "loss_box", "loss_dfl")]
    gradients = [
        torch.autograd.grad(x, leaves, allow_unused=True, retain_graph=True) for x in found
    ]
    places = reference.cells(MAPS)
    every_logit, every_bin = torch.cat(logits, dim=1), torch.cat(bins, dim=1)
    expected = reference.losses(
        *(every_logit, every_bin, places),
        [truth.gt_boxes.tensor.double() for truth in truths],
        [truth.gt_classes for truth in truths],
    )
    for value, wanted, gradient in zip(found, expected, gradients, strict=True):
        torch.testing.assert_close(value, wanted, rtol=1e-6, atol=0)
        other = torch.autograd.grad(wanted, leaves, allow_unused=True, retain_graph=True)
        for a, b in zip(gradient, other, strict=True):
            assert (a is None) == (b is None)
            if a is not None:
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("side", [0.0, 16.0])
def test_a_small_box_has_cells_where_its_sides_are_widened(loaded, side):
    model = copy.copy(loaded)
    model.small_side = side
    batch = [sample(images(1)[0], [[80.0, 50, 84, 58]], [1])]
    model.train()
    with torch.no_grad():
        picture = model.preprocess_image(batch)
        maps = list(model.backbone(picture.tensor).values())
        predictions = model.dense_predictions(maps, model.head(maps))
        assigned = model.assign(predictions, [batch[0]["instances"]])
    loaded.eval()
    centres = {tuple((p * s).tolist()) for p, s in _places(assigned)}
    inside = {(76, 52), (84, 52), (76, 60), (84, 60), (88, 56), (80, 48)}
    assert centres <= inside and bool(centres) == bool(side)


def _places(assigned):
    strides = [8] * 96 + [16] * 24 + [32] * 6
    return [
        (p, strides[a]) for p, a in zip(assigned.points, assigned.index[1].tolist(), strict=True)
    ]


def test_only_sides_below_the_limit_are_widened():
    boxes = torch.tensor([[10.0, 10, 14, 40], [0, 0, 16, 15.5]])
    assert widen(boxes, 16.0, 16.0).tolist() == [[4, 10, 20, 40], [0, -0.25, 16, 15.75]]
    assert widen(boxes, 0.0, 16.0).tolist() == boxes.tolist()


def test_the_losses_are_multiplied_by_the_number_of_images_as_published():
    assert all(config(f"yolov8{size}_bccd").MODEL.YOLOv8.TIMES_BATCH for size in "nsm")
    batch = [sample(x, TRUTHS[:2], [0, 1]) for x in images(3)]
    values = []
    for times in (False, True):
        torch.manual_seed(0)
        model = build_model(config("yolov8n_bccd", "MODEL.YOLOv8.TIMES_BATCH", times)).train()
        values.append(torch.stack(list(model(batch).values())))
    torch.testing.assert_close(values[1], 3 * values[0])


@pytest.mark.parametrize("quality", [False, True])
def test_the_papers_losses_train_it_too(quality):
    options = ("MODEL.YOLOv8.LOSS", "focal_giou_l1", "MODEL.YOLOv8.QUALITY_SCORES", quality)
    torch.manual_seed(0)
    model = build_model(config("yolov8n_bccd", *options)).train()
    losses = model([sample(x, TRUTHS[:2], [0, 1]) for x in images(2)])
    assert set(losses) == {"loss_cls", "loss_giou", "loss_l1"}
    sum(losses.values()).backward()
    assert all(value > 0 for value in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("count", [1, 5])
def test_one_and_five_classes_train_and_are_detected(count):
    names = tuple(f"class {i}" for i in range(count))
    options = ("MODEL.CLASS_NAMES", names, "MODEL.YOLOv8.NUM_CLASSES", count)
    torch.manual_seed(0)
    model = build_model(config("yolov8_lite_bccd", *options)).train()
    losses = model([sample(images(1)[0], TRUTHS[:2], [0, count - 1])])
    assert all(value.isfinite() and value > 0 for value in losses.values())
    model.eval().score_threshold = 0.0
    with torch.no_grad():
        found = model([sample(images(1)[0])])[0]["instances"]
    assert set(found.pred_classes.tolist()) == set(range(count))


def test_options_that_have_no_effect_or_no_meaning_are_refused():
    for options, message in (
        (("MODEL.YOLOv8.QUALITY_SCORES", True), r"QUALITY_SCORES.*no effect"),
        (("MODEL.YOLOv8.LOSS", "vfl"), r'MODEL\.YOLOv8\.LOSS is "vfl"'),
    ):
        with pytest.raises(ValueError, match=message):
            build_model(config("yolov8n_bccd", *options))


@pytest.mark.parametrize("loss", ["bce_ciou_dfl", "focal_giou_l1"])
def test_confident_predictions_without_label_can_be_left_out(loss):
    options = ["MODEL.YOLOv8.LOSS", loss]
    options += ["MODEL.MISSING_LABELS.CLASSES", ["RBC"], "MODEL.MISSING_LABELS.MIN_SCORE", 0.0]
    values = []
    for enabled, unlabelled in ((False, False), (True, False), (False, True)):
        torch.manual_seed(0)
        cfg = config("yolov8n_bccd", *options, "MODEL.MISSING_LABELS.ENABLED", enabled)
        batch = [{**sample(images(1)[0]), "unlabelled": torch.tensor([unlabelled, False, False])}]
        values.append(build_model(cfg).train()(batch)["loss_cls"])
    # Without a box, every prediction of RBC is left out, as if the image had no labels of them.
    torch.testing.assert_close(values[1], values[2], rtol=1e-5, atol=0)
    assert values[1] < 0.8 * values[0]


def test_it_learns_two_images_by_heart():
    torch.manual_seed(0)
    model = build_model(config()).train()
    pictures = torch.full((2, 3, *SIZE), 220, dtype=torch.uint8)
    boxes = [[[8, 8, 40, 40], [50, 20, 90, 60]], [[30, 16, 62, 48]]]
    labels = [[0, 1], [0]]
    colors = torch.tensor([[180, 60, 60], [90, 40, 150]], dtype=torch.uint8)
    for picture, where, kinds in zip(pictures, boxes, labels, strict=True):
        for (x0, y0, x1, y1), kind in zip(where, kinds, strict=True):
            picture[:, y0:y1, x0:x1] = colors[kind][:, None, None]
    batch = [sample(*x) for x in zip(pictures, boxes, labels, strict=True)]
    # No weight decay or schedule: this is about gradients alone.
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=2e-3)
    for _ in range(50):
        optimizer.zero_grad()
        losses = model(batch)
        sum(losses.values()).backward()
        optimizer.step()
    nn.Module.eval(model)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train()  # its averages are not those of so few iterations
        found = [x["instances"] for x in model(batch)]
    for detections, where, kinds in zip(found, boxes, labels, strict=True):
        best = detections[: len(kinds)]
        order = best.pred_classes.argsort()
        assert best.pred_classes[order].tolist() == kinds
        difference = best.pred_boxes.tensor[order] - torch.tensor(where)
        assert difference.abs().max() < 6


@pytest.fixture
def released(weights, tmp_path):
    """A file as the released program writes it: a pickled module, in half precision."""
    package = types.ModuleType("a_program_that_is_not_installed")

    class Module(nn.Module):
        pass

    Module.__module__, Module.__qualname__ = package.__name__, "Module"
    package.Module = Module
    sys.modules[package.__name__] = package
    path = tmp_path / "yolov8n.pt"

    def write(weights, names):
        root = Module()
        for name, tensor in weights.items():
            *parents, last = name.split(".")
            module = root
            for parent in parents:
                if parent not in module._modules:
                    module.add_module(parent, Module())
                module = module._modules[parent]
            if last in ("weight", "bias"):
                module.register_parameter(last, nn.Parameter(tensor.half(), requires_grad=False))
            else:
                module.register_buffer(
                    last, tensor.half() if tensor.is_floating_point() else tensor
                )
        root.names = names
        sys.modules[package.__name__] = package
        torch.save({"epoch": -1, "model": root, "ema": None, "date": "today"}, path)
        del sys.modules[package.__name__]
        return path

    yield write
    sys.modules.pop(package.__name__, None)


convert = runpy.run_path(str(ROOT / "tools" / "convert_yolov8.py"))["convert"]


def test_a_released_file_becomes_a_checkpoint_and_its_config(weights, released, tmp_path):
    names = {0: "small", 1: "large", 2: "flat"}
    path = released(weights, names)
    written = convert(path, tmp_path / "ours.pth")
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(written))
    cfg.MODEL.DEVICE = "cpu"
    assert tuple(names.values()) == cfg.MODEL.CLASS_NAMES
    model = build_model(cfg).eval()
    classes = CheckpointClasses(cfg, model)
    loader = BCCDCheckpointer(model, classes=classes, require_all=True)
    loader.load(str(tmp_path / "ours.pth"))
    half = {k: v.half().float() if v.is_floating_point() else v for k, v in weights.items()}
    picture = images(1)
    with torch.no_grad():
        maps = list(model.backbone(picture / 255).values())
        expected = reference.forward(half, picture / 255)
        torch.testing.assert_close(model.head(maps)[0], expected[0], rtol=1e-3, atol=1e-3)


def test_weights_of_other_models_are_refused(weights, released, tmp_path):
    target = tmp_path / "ours.pth"
    cases = {
        r"names 2 classes, but has 3": (weights, ["a", "b"]),
        r"has model\.22\.cv4.*no detector": (
            {**weights, "model.22.cv4.0.0.conv.weight": torch.zeros(1)},
            None,
        ),
        r"not as wide and deep": (
            {**weights, "model.0.conv.weight": torch.zeros(24, 3, 3, 3)},
            None,
        ),
        r"lacks: backbone\.to_finer\.0\.merge\.weight": (
            {k: v for k, v in weights.items() if k != "model.12.cv2.conv.weight"},
            None,
        ),
        r"distances of its bins": (
            {**weights, "model.22.dfl.conv.weight": torch.ones(1, 16, 1, 1)},
            None,
        ),
    }
    for message, (wrong, names) in cases.items():
        with pytest.raises(ValueError, match=message):
            convert(released(wrong, names), target)
        assert not target.exists()


def test_fine_tuning_from_eighty_classes_begins_with_new_class_towers(released, tmp_path, caplog):
    many = reference.random_weights(80, torch.Generator().manual_seed(2))
    convert(released(many, [f"class {i}" for i in range(80)]), tmp_path / "coco.pth")
    cfg = config("yolov8n_bccd", "MODEL.CLASS_NAMES", ("RBC", "WBC", "Platelets"))
    model = build_model(cfg)
    before = copy.deepcopy(model.state_dict())
    loader = BCCDCheckpointer(model, classes=CheckpointClasses(cfg, model))
    loader.load(str(tmp_path / "coco.pth"))
    after, stored = model.state_dict(), read_checkpoint(tmp_path / "coco.pth")["model"]
    # 80 classes have towers of 80 channels, three of 64.
    fresh = {k for k in after if k.startswith(("head.label_convs", "head.class_logits"))}
    for name, tensor in after.items():
        if name.endswith("num_batches_tracked"):
            continue
        is_norm_of_first = name in stored and stored[name].shape == tensor.shape
        if name in fresh:
            assert torch.equal(tensor, before[name]), name
        else:
            assert is_norm_of_first and torch.equal(tensor, stored[name]), name
