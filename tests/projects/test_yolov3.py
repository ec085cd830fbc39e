"""YOLOv3: sizes of the published models, both forms' assignment, losses and learning."""

import copy
import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import reference_yolov3 as reference
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.data.synthetic import draw_smear
from bccd.export.check import find_differences
from bccd.export.detector import exportable
from bccd.modeling.anchors import WidthHeightAnchors
from bccd.modeling.assigners.best_anchor import find_best_anchor
from bccd.modeling.dense_predictions import DensePredictions
from bccd.modeling.sigmoid_boxes import decode_sigmoid_boxes, sigmoid_box_targets
from bccd.projects.yolov3.boxes import decode_exp_boxes, exp_box_targets, squash_exp_outputs
from bccd.projects.yolov3.initialisation import initialise

CONFIGS = Path(__file__).parents[2] / "configs" / "YOLOv3"
ANCHORS = [[[10, 14], [20, 18]], [[24, 40], [40, 30]], [[60, 50], [90, 80]]]
SIZE = (64, 96)
DARKNET = {"BOXES": "exp", "ASSIGNMENT": "best_anchor", "LOSS": "darknet"}
FORMS = {
    "darknet": DARKNET,
    "later": {},
    "three_losses": {"LOSS": "focal_giou_l1"},
    "three_losses_exp": {**DARKNET, "LOSS": "focal_giou_l1"},
}


def read(name, **options):
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(CONFIGS / f"yolov3_{name}_bccd.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    cfg.merge_from_list([x for pair in options.items() for x in pair])
    return cfg


def build_on_meta(name, classes=3):
    cfg = read(name, **{"MODEL.DEVICE": "meta", "MODEL.YOLOv3.NUM_CLASSES": classes})
    with torch.device("meta"):
        return build_model(cfg).eval()


def small(form="later", **options):
    """The lite model of few channels, for images of 64 x 96."""
    options = {f"MODEL.YOLOv3.{key}": value for key, value in {**FORMS[form], **options}.items()}
    options = {
        "MODEL.RESNETS.STEM_OUT_CHANNELS": 16,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
        "MODEL.YOLOv3.CHANNELS": [16, 16, 16],
        "MODEL.ANCHOR_GENERATOR.SIZES": ANCHORS,
        "INPUT.UNLABELLED_IF_ABSENT": (),
        "INPUT.MIN_SIZE_TEST": SIZE[0],
        "INPUT.MAX_SIZE_TEST": SIZE[1],
        **options,
    }
    torch.manual_seed(0)
    return build_model(read("lite", **options))


@pytest.mark.parametrize(
    ("name", "classes", "parameters", "gflops"),
    [
        ("darknet53", 80, 61_949_149, 155.9),
        ("darknet53", 3, 61_534_504, None),
        ("spp", 80, 62_998_749, None),
        ("tiny", 80, 8_852_366, 13.2),
        ("tiny", 3, 8_674_496, None),
        ("later", 80, 61_949_149, 155.9),
    ],
)
def test_sizes_are_those_of_the_published_models(name, classes, parameters, gflops):
    model = build_on_meta(name, classes)
    assert sum(p.numel() for p in model.parameters()) == parameters
    if gflops is None:
        return
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        features = model.backbone(torch.zeros(1, 3, 640, 640, device="meta"))
        model.head([features[key] for key in model.head_in_features])
    assert counter.get_total_flops() / 1e9 == pytest.approx(gflops, abs=0.05)


@pytest.mark.parametrize(
    ("name", "eps", "momentum", "below"),
    [("darknet53", 1e-5, 0.01, -0.1), ("later", 1e-3, 0.03, -0.27)],
)
def test_both_forms_normalise_and_activate_as_published(name, eps, momentum, below):
    stem = build_on_meta(name).backbone.stem
    assert (stem.norm.eps, stem.norm.momentum, stem.bias) == (eps, momentum, None)
    assert stem.activation(torch.tensor(-1.0)).item() == pytest.approx(below, abs=0.01)


def test_darknets_weights_start_normal_with_the_deviation_of_their_inputs():
    torch.manual_seed(0)
    part = nn.Sequential(nn.Conv2d(64, 128, 3), nn.Conv2d(256, 100, 1))
    initialise(part, "darknet")
    for conv, inputs in zip(part, (576, 256), strict=True):
        weight = conv.weight.detach()
        assert weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.03)
        # A third of a normal distribution is farther than its deviation; no uniform one has tails.
        assert (weight.abs() > 2.5 * weight.std()).float().mean().item() == pytest.approx(
            0.0124, rel=0.3
        )
        assert (conv.bias == 0).all()


def test_anchors_of_any_fraction_are_exact_to_a_ten_thousandth_of_a_pixel():
    """Boxes are float32: at the far side of an image the corners of an anchor are rounded."""
    sizes = [[12.3456789, 9.8765432], [101.010101, 55.5555555]]
    generator = WidthHeightAnchors(sizes=[sizes], aspect_ratios=[[1.0]], strides=[8], offset=0.5)
    anchors = generator([torch.zeros(1, 1, 80, 80)])[0].tensor[-2:]
    for decode in (decode_exp_boxes, decode_sigmoid_boxes):
        found = decode(torch.zeros(2, 4, dtype=torch.float64), anchors, 8)
        found = found[:, 2:] - found[:, :2]
        expected = torch.tensor(sizes, dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_boxes_are_decoded_by_hand_and_back():
    anchor = torch.tensor([[-4.0, 2, 28, 14]], dtype=torch.float64)  # 32 x 12 around (12, 8)
    outputs = torch.tensor([[0.0, -1.0986123, 0.0, 0.6931472]], dtype=torch.float64)
    box = decode_exp_boxes(outputs, anchor, 8.0)
    # The cell is (8, 4) to (16, 12); the centre in the middle and at a quarter of it; 32 x 24.
    torch.testing.assert_close(box, torch.tensor([[-4.0, -6, 28, 18]], dtype=torch.float64))
    outputs = torch.randn(20, 4, dtype=torch.float64)
    anchors = anchor.repeat(20, 1)
    back = exp_box_targets(decode_exp_boxes(outputs, anchors, 8.0), anchors, 8.0)
    torch.testing.assert_close(back, squash_exp_outputs(outputs))
    back = sigmoid_box_targets(decode_sigmoid_boxes(outputs, anchors, 8.0), anchors, 8.0)
    torch.testing.assert_close(back, 2 * outputs.sigmoid())
    huge = decode_exp_boxes(torch.full((1, 4), 1e4), anchor.float(), 8.0)
    assert huge.isfinite().all()


def test_the_best_shape_takes_a_box_in_the_cell_of_its_centre():
    sizes = [torch.tensor(x, dtype=torch.float32) for x in ANCHORS]
    maps = [(8, 12), (4, 6), (2, 3)]
    boxes = torch.tensor(
        [
            [3.0, 1, 13, 15],  # 10 x 14 around (8, 8): on the corner of four cells
            [40, 10, 84, 42],  # 44 x 32: nearest to 40 x 30
            [30, 0, 120, 128],  # its centre (75, 64) is below the image
            [10, 10, 13, 60],  # thin, and shares most of its area with 10 x 14
        ]
    )
    found = find_best_anchor(boxes, sizes, maps, [8, 16, 32])
    assert [(a.tolist(), t.tolist()) for a, t in found] == [
        ([(1 * 12 + 1) * 2, (4 * 12 + 1) * 2], [0, 3]),
        ([(1 * 6 + 3) * 2 + 1], [1]),
        ([(1 * 3 + 2) * 2 + 1], [2]),
    ]
    empty = find_best_anchor(boxes[:0], sizes, maps, [8, 16, 32])
    assert all(len(a) == len(t) == 0 for a, t in empty)


# By hand: two boxes of one anchor with other classes, and a large one; none; one in a corner.
TRUTHS = [
    ([[30.0, 20, 48, 40], [31, 20, 50, 39], [2, 3, 92, 60]], [2, 0, 1]),
    ([], []),
    ([[85.0, 50, 96, 64]], [0]),
]


def truths_as_instances(truths=TRUTHS):
    instances = []
    for boxes, classes in truths:
        truth = Instances(SIZE)
        truth.gt_boxes = Boxes(torch.tensor(boxes).reshape(-1, 4))
        truth.gt_classes = torch.tensor(classes, dtype=torch.int64)
        instances.append(truth)
    return instances


def random_predictions(model, images=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    maps = [torch.zeros(images, 1, SIZE[0] // s, SIZE[1] // s) for s in (8, 16, 32)]

    def draw(outputs, level, scale):
        shape = (images, len(ANCHORS[level]) * outputs, *maps[level].shape[-2:])
        return torch.randn(shape, generator=generator, dtype=torch.float64) * scale

    logits, boxes = ([draw(4, level, scale) for level in range(3)] for scale in (2.0, 0.5))
    predictions = model.dense_predictions(maps, (logits, boxes))
    for x in (*predictions.logits, *predictions.boxes):
        x.requires_grad_()
    return predictions


def as_grids(predictions, level, gradient=False):
    """(N, A, H, W, 5 + K) of a feature map: boxes, objectness, classes."""
    parts = predictions.boxes[level], predictions.logits[level]
    if gradient:
        parts = [x.grad for x in parts]
    height, width = predictions.sizes[level]
    grid = torch.cat(list(parts), dim=2).detach()
    return grid.view(len(grid), height, width, 2, -1).permute(0, 3, 1, 2, 4).numpy()


@pytest.mark.parametrize("seed", range(2))
def test_gradients_in_darknets_form_are_darknets_cell_by_cell(seed):
    model = small("darknet")
    predictions = random_predictions(model, seed=seed)
    with torch.no_grad():  # two predictions that are right without being assigned
        anchors = predictions.anchors[1].tensor[16:18].double()
        wanted = exp_box_targets(torch.tensor([[31.0, 21, 49, 39]]).double(), anchors, 16.0)
        wanted[:, :2] = torch.logit(wanted[:, :2].clamp(0.02, 0.98))
        predictions.boxes[1][0, 16:18] = wanted
    assigned = model.assign(predictions, truths_as_instances())
    losses = model.losses(predictions, assigned, None)
    assert losses.keys() == {"loss_xy", "loss_wh", "loss_obj", "loss_cls"}
    assert all(loss.dtype == torch.float64 for loss in losses.values())
    sum(losses.values()).backward()
    ignored = 0
    for image, truth in enumerate(TRUTHS):
        grids = [as_grids(predictions, level)[image] for level in range(3)]
        expected = reference.darknet_deltas(grids, ANCHORS, [8, 16, 32], truth, SIZE[0] * SIZE[1])
        for level, delta in enumerate(expected):
            found = -3 * as_grids(predictions, level, gradient=True)[image]
            np.testing.assert_allclose(found, delta, rtol=1e-6, atol=1e-9)
            ignored += (delta[..., 4] == 0).sum()
    assert ignored > 0


def test_darknets_losses_vanish_where_the_prediction_is_right():
    model = small("darknet")
    predictions = random_predictions(model, images=1)
    truth = truths_as_instances([([[33.0, 21, 47, 35], [4, 4, 88, 60]], [2, 1])])
    assigned = model.assign(predictions, truth)
    assert all(target.boxes.dtype == torch.float64 for target in assigned.levels)
    with torch.no_grad():
        for level, target in enumerate(assigned.levels):
            predictions.logits[level].fill_(-20)
            anchors = predictions.anchors[level].tensor[target.anchors].double()
            wanted = exp_box_targets(target.boxes.double(), anchors, predictions.strides[level])
            wanted[:, :2] = torch.logit(wanted[:, :2])
            predictions.boxes[level][0, target.anchors] = wanted
            predictions.logits[level][0, target.anchors, 0] = 20
            predictions.logits[level][0, target.anchors, 1 + target.classes] = 20
    losses = model.losses(predictions, model.assign(predictions, truth), None)
    assert losses["loss_wh"] < 1e-12 and losses["loss_obj"] < 1e-4 and losses["loss_cls"] < 1e-4
    losses["loss_xy"].backward()  # cross-entropy of a place in the cell is least, not 0
    assert all(x.grad is None or x.grad.abs().max() < 1e-9 for x in predictions.boxes)


@pytest.mark.parametrize("scale_gains", [False, True])
def test_losses_in_the_later_form_are_those_of_the_rule_pair_by_pair(scale_gains):
    model = small(**{"BALANCED_LOSS.SCALE_GAINS": scale_gains})
    predictions = random_predictions(model)
    losses = model.losses(predictions, model.assign(predictions, truths_as_instances()), None)
    assert all(loss.dtype == torch.float64 for loss in losses.values())
    grids = [as_grids(predictions, level) for level in range(3)]
    box, objectness, classes = reference.later_losses(grids, ANCHORS, [8, 16, 32], TRUTHS)
    factors = (SIZE[0] * SIZE[1] / 640**2, 3 / 80) if scale_gains else (1, 1)
    expected = {
        "loss_box": 3 * 0.05 * box,
        "loss_obj": 3 * 1.0 * objectness * factors[0],
        "loss_cls": 3 * 0.5 * classes * factors[1],
    }
    assert {k: x.item() for k, x in losses.items()} == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_rest_of_a_batch_changes_no_target(form):
    model = small(form)
    predictions = random_predictions(model)
    together = model.assign(predictions, truths_as_instances())
    for i, truth in enumerate(truths_as_instances()):
        alone = DensePredictions(
            [x[i : i + 1] for x in predictions.logits],
            [x[i : i + 1] for x in predictions.boxes],
            *(predictions.anchors, predictions.strides, predictions.sizes),
        )
        for one, all_ in zip(model.assign(alone, [truth]).levels, together.levels, strict=True):
            mine = all_.images == i
            assert torch.equal(one.anchors, all_.anchors[mine])
            assert torch.equal(one.boxes, all_.boxes[mine])


def samples(truths):
    """Images with rectangles in the colour of their class."""
    found = []
    for seed, instances in enumerate(truths_as_instances(truths)):
        pixels = torch.rand(3, *SIZE, generator=torch.Generator().manual_seed(seed)) * 40
        boxes, classes = instances.gt_boxes.tensor.int().tolist(), instances.gt_classes
        for (x0, y0, x1, y1), kind in zip(boxes, classes, strict=True):
            pixels[kind, y0:y1, x0:x1] = 250
        found.append({"image": pixels, "instances": instances})
    return found


@pytest.mark.parametrize("form", FORMS)
def test_empty_images_train_and_classes_without_labels_give_no_negatives(form):
    model = small(form).train()
    trained = []
    for truths in (TRUTHS, TRUTHS[1:2]):
        losses = model(samples(truths))
        model.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        assert all(loss.isfinite() for loss in losses.values())
        trained.append({name for name, p in model.named_parameters() if p.grad is not None})
    assert trained[0] == trained[1]
    batch = samples(TRUTHS[1:2])
    batch[0]["unlabelled"] = torch.ones(3, dtype=torch.bool)
    assert sum(model(batch).values()) == 0


@pytest.mark.parametrize("form", FORMS)
def test_a_model_in_float64_computes_in_it_throughout(form):
    model = small(form).train()
    exact = copy.deepcopy(model).double()
    losses, expected = model(samples(TRUTHS)), exact(samples(TRUTHS))
    assert all(loss.dtype == torch.float64 for loss in expected.values())
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-3)
    found = exact.eval()(samples(TRUTHS))[0]["instances"]
    assert found.scores.dtype == torch.float64


@pytest.mark.parametrize("form", ["darknet", "later"])
def test_confident_predictions_of_classes_with_missing_labels_are_no_negatives(form):
    model = small(form)
    predictions = random_predictions(model, images=1)
    with torch.no_grad():
        predictions.logits[0][0, 0] = torch.tensor([8.0, 8.0, -8.0, -8.0])
        predictions.boxes[0][0, 0] = -3.0
    truth = truths_as_instances(TRUTHS[:1])
    full = model.losses(predictions, model.assign(predictions, truth), None)["loss_obj"]
    model.criterion.missing_labels = copy.deepcopy(model.criterion.missing_labels)
    model.criterion.missing_labels.ignored_if_confident[0] = True
    model.criterion.missing_labels.uses_overlap = True
    assert model.losses(predictions, model.assign(predictions, truth), None)["loss_obj"] < full


@pytest.mark.parametrize("form", ["darknet", "later"])
def test_training_on_two_images_finds_their_cells(form):
    model = small(form).train()
    truths = [([[6, 10, 30, 34], [56, 20, 90, 52]], [0, 2]), ([[30, 6, 74, 52]], [1])]
    batch = samples([([[float(x) for x in box] for box in boxes], k) for boxes, k in truths])
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=80)
    for _ in range(80):
        loss = sum(model(batch).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    model.eval()
    for sample, (boxes, classes) in zip(batch, truths, strict=True):
        found = model([sample])[0]["instances"][: len(boxes)]
        order = found.pred_classes.argsort()
        assert found.pred_classes[order].tolist() == classes
        wanted = torch.tensor(boxes, dtype=torch.float32)
        torch.testing.assert_close(found.pred_boxes.tensor[order], wanted, atol=6, rtol=0)


@pytest.mark.parametrize("form", ["darknet", "later"])
def test_the_exportable_form_detects_what_the_model_does(form):
    model = small(form).eval()
    for parameter in model.parameters():
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    form = exportable(model)

    def run(images):
        with torch.no_grad():
            return [x.numpy() for x in form(torch.from_numpy(images))]

    images = [draw_smear(seed, *size)[0] for seed, size in enumerate(((64, 96), (75, 101)))]
    assert find_differences(form, run, images, tolerance=1e-4) == []


@pytest.mark.parametrize("classes", [1, 5])
def test_one_and_five_classes_train_and_detect(classes):
    for form in FORMS:
        model = small(form, NUM_CLASSES=classes)
        truths = [([[6.0, 10, 30, 34]], [classes - 1]), ([], [])]
        losses = model.train()(samples([([[6.0, 10, 30, 34]], [0]), ([], [])]))
        assert all(loss.isfinite() for loss in losses.values()), form
        found = model.eval()(samples([truths[1]]))[0]["instances"]
        assert found.pred_classes.numel() == 0 or found.pred_classes.max() < classes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"BOXES": "ltrb"}, r'YOLOv3\.BOXES is "ltrb", must be one of exp, sigmoid'),
        ({"LOSS": "l2"}, r"YOLOv3\.LOSS"),
        ({"ASSIGNMENT": "ota"}, r"YOLOv3\.ASSIGNMENT"),
        ({"INIT": "zeros"}, r"YOLOv3\.INIT"),
        ({"LOSS": "darknet"}, "LOSS darknet is for BOXES exp and ASSIGNMENT best_anchor"),
        ({"NUM_CONVS": [1, 1]}, r"NUM_CONVS has 2 numbers.*'res4'"),
        ({"BALANCED_LOSS.BALANCE": [4.0, 1.0]}, r"BALANCED_LOSS\.BALANCE has 2 numbers"),
    ],
)
def test_a_config_error_names_the_key(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)


def test_the_padding_of_tinys_last_pool_is_that_of_the_form():
    model = build_model(read("tiny")).backbone
    x = -torch.rand(1, 1, 3, 4)
    darknet = torch.nn.functional.max_pool2d(model._pad(x), 2, stride=1)
    model.zero_padding = True
    later = torch.nn.functional.max_pool2d(model._pad(x), 2, stride=1)
    for row, column in product(range(3), range(4)):
        assert darknet[0, 0, row, column] == x[0, 0, row : row + 2, column : column + 2].max()
        at_border = row == 2 or column == 3
        assert later[0, 0, row, column] == (0 if at_border else darknet[0, 0, row, column])
