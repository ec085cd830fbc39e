"""Assignment, losses and learning of YOLOv7, against loops that are written out."""

import math
from pathlib import Path

import pytest
import reference_yolov7 as naive
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances

from bccd.config import get_bccd_cfg, merge_yaml

LITE = Path(__file__).parents[2] / "configs/YOLOv7/yolov7_lite_bccd.yaml"
SIZE = (96, 160)
STRIDES = [8, 16, 32]
GAINS = 0.05, 0.7, 0.3
# Three that overlap and one whose centre is on the lines between cells; none; one at two borders,
# two on the same place that differ in class, a large one.
TRUTHS = (
    ([[20, 20, 52, 50], [24, 26, 50, 58], [100, 40, 130, 80], [64, 32, 96, 64]], [0, 1, 2, 0]),
    ([], []),
    ([[0, 0, 14, 12], [60, 20, 84, 44], [60, 20, 84, 44], [50, 6, 160, 96]], [2, 0, 1, 1]),
)


def build(*options, width=0.25):
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(LITE))
    cfg.MODEL.DEVICE, cfg.MODEL.YOLOv7.WIDTH = "cpu", width
    cfg.MODEL.YOLOv7.SCALE_GAINS = True
    cfg.merge_from_list(list(options))
    torch.manual_seed(0)
    return build_model(cfg)


def instances(boxes, classes, size=SIZE):
    truth = Instances(size)
    truth.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    truth.gt_classes = torch.tensor(classes, dtype=torch.int64)
    return truth


def random_maps(model, images, seed=0, size=SIZE):
    """Raw outputs (N, A, H, W, 5 + K) of each feature map, in double precision, with gradient."""
    generator = torch.Generator().manual_seed(seed)
    maps = []
    for stride, count in zip(STRIDES, model.anchor_generator.num_anchors, strict=True):
        shape = images, count, size[0] // stride, size[1] // stride, 5 + model.num_classes
        values = torch.randn(shape, generator=generator, dtype=torch.float64) * 0.7
        maps.append(values.requires_grad_())
    return maps


def predictions_of(model, maps):
    planes = [x.permute(0, 1, 4, 2, 3) for x in maps]
    logits = [x[:, :, 4:].flatten(1, 2) for x in planes]
    boxes = [x[:, :, :4].flatten(1, 2) for x in planes]
    return model.dense_predictions(logits, (logits, boxes))


def anchors_of(model):
    cells = model.anchor_generator.cell_anchors
    return [(cell[:, 2:] - cell[:, :2]).tolist() for cell in cells]


def found_pairs(model, maps, assigned):
    """(image, anchor of the cell, row, column, box) of each feature map, as ``naive`` has them."""
    pairs = []
    for x, level in zip(maps, assigned.levels, strict=True):
        count, width = x.shape[1], x.shape[3]
        cells = level.anchors.div(count, rounding_mode="floor")
        row, column = cells.div(width, rounding_mode="floor"), cells % width
        rows = torch.stack([level.images, level.anchors % count, row, column], dim=1)
        pairs.append([(*a, *b) for a, b in zip(rows.tolist(), level.boxes.tolist(), strict=True)])
    return pairs


@pytest.mark.parametrize("ota", [True, False])
@pytest.mark.parametrize("num_classes", [3, 5])
def test_pairs_losses_and_gradients_are_those_of_loops(ota, num_classes):
    model = build("MODEL.YOLOv7.OTA.ENABLED", ota, "MODEL.YOLOv7.NUM_CLASSES", num_classes)
    maps = random_maps(model, len(TRUTHS), seed=num_classes)
    predictions = predictions_of(model, maps)
    with torch.no_grad():
        assigned = model.assign(predictions, [instances(*truth) for truth in TRUTHS])
    anchors = anchors_of(model)
    expected = [[] for _ in maps]
    for image, (boxes, classes) in enumerate(TRUTHS):
        if boxes:
            levels = naive.assign(maps, image, boxes, classes, anchors, STRIDES, ota)
            for level, cells in enumerate(levels):
                expected[level] += [(image, *cell[:3], *boxes[cell[3]]) for cell in cells]
    assert found_pairs(model, maps, assigned) == expected
    assert all(expected)

    losses = model.losses(predictions, assigned, None)
    area = SIZE[0] * SIZE[1]
    wanted = naive.losses(maps, TRUTHS, anchors, STRIDES, GAINS, area, ota)
    assert list(losses) == ["loss_box", "loss_obj", "loss_cls"]
    for loss, value in zip(losses.values(), wanted, strict=True):
        assert loss.dtype == torch.float64
        torch.testing.assert_close(loss, value, rtol=1e-6, atol=0)
    gradients = torch.autograd.grad(sum(losses.values()), maps)
    for ours, theirs in zip(gradients, torch.autograd.grad(sum(wanted), maps), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-9)


def test_ground_truth_is_as_exact_as_the_outputs_that_it_is_compared_with():
    model = build()
    predictions = predictions_of(model, random_maps(model, 1))
    truth = instances([[10.1, 12.3, 45.7, 51.9], [70.3, 1.7, 83.9, 20.1]], [0, 1])
    assigned = model.assign(predictions, [truth])
    pairs = model.criterion.pairs(predictions, assigned.levels)
    levels = [*zip(pairs, assigned.levels, STRIDES, strict=True)]
    assert all(level.boxes.dtype == torch.float64 for level in assigned.levels)
    assert any(len(level.anchors) for level in assigned.levels)
    for index, (found, level, stride) in enumerate(levels):
        anchors = predictions.anchors[index].tensor[level.anchors].double()
        centres = ((anchors[:, :2] + anchors[:, 2:]) / 2).repeat(1, 2)
        expected = (level.boxes.double() - centres) / stride
        torch.testing.assert_close(found.targets, expected, rtol=1e-14, atol=1e-14)


def test_boxes_and_scores_are_those_of_loops():
    model = build()
    maps = random_maps(model, 2)
    predictions = predictions_of(model, maps)
    boxes = model.decode_all(predictions).split([x.shape[1] for x in predictions.logits], dim=1)
    assert boxes[0].dtype == torch.float64
    anchors = anchors_of(model)
    for level, x in enumerate(maps):
        count, width = x.shape[1], x.shape[3]
        for image, a, row, column in (
            (0, 0, 0, 0),
            (1, 1, x.shape[2] - 1, 2),
            (1, 0, 1, width - 1),
        ):
            place = (row * width + column) * count + a
            raw = x[image, a, row, column].tolist()
            expected = naive.decode(raw, anchors[level][a], row, column, STRIDES[level])
            assert boxes[level][image, place].tolist() == pytest.approx(expected, rel=1e-12)
            scores = [1 / (1 + math.exp(-raw[4])) / (1 + math.exp(-v)) for v in raw[5:]]
            found = model.scores(predictions.logits[level][image, place])
            assert found.tolist() == pytest.approx(scores, rel=1e-12)


def test_of_one_class_objectness_is_the_score_and_trains_alone():
    model = build("MODEL.YOLOv7.NUM_CLASSES", 1)
    maps = random_maps(model, 1)
    predictions = predictions_of(model, maps)
    objectness = predictions.logits[0][..., 0].sigmoid()
    torch.testing.assert_close(model.scores(predictions.logits[0])[..., 0], objectness)
    truth = instances(TRUTHS[0][0], [0, 0, 0, 0])
    losses = model.losses(predictions, model.assign(predictions, [truth]), None)
    assert list(losses) == ["loss_box", "loss_obj"]


def test_width_and_height_are_treated_alike():
    sizes = [[[20, 20]], [[40, 60], [60, 40]], [[100, 100]]]
    model = build("MODEL.ANCHOR_GENERATOR.SIZES", sizes)
    maps = [x.detach() for x in random_maps(model, 1)]
    # The transposed image, its boxes and anchors.
    turned = [x.transpose(2, 3)[..., [1, 0, 3, 2, *range(4, x.shape[-1])]] for x in maps]
    turned[1] = turned[1].flip(1)
    results = []
    for each, axes in ((maps, [0, 1, 2, 3]), (turned, [1, 0, 3, 2])):
        boxes = torch.tensor(TRUTHS[0][0])[:, axes].tolist()
        predictions = predictions_of(model, each)
        assigned = model.assign(predictions, [instances(boxes, TRUTHS[0][1])])
        losses = model.losses(predictions, assigned, None)
        results.append(
            [
                *(len(level.anchors) for level in assigned.levels),
                *(loss.item() for loss in losses.values()),
            ]
        )
    assert results[0] == pytest.approx(results[1], rel=1e-9)


def perfect_maps(model, truth):
    """Raw outputs that predict each ground truth of one image at the pairs without choosing."""
    maps = [x.detach().zero_() for x in random_maps(model, 1)]
    for x in maps:
        x[..., 4:] = -15.0
    anchors = anchors_of(model)
    for level, x in enumerate(maps):
        size, stride = tuple(x.shape[2:4]), STRIDES[level]
        boxes = truth.gt_boxes.tensor.tolist()
        for a, row, column, g in naive.candidates(boxes, anchors[level], size, stride):
            x0, y0, x1, y1 = boxes[g]
            doubled = torch.tensor(
                [
                    (x0 + x1) / 2 / stride - column + 0.5,
                    (y0 + y1) / 2 / stride - row + 0.5,
                    math.sqrt((x1 - x0) / anchors[level][a][0]),
                    math.sqrt((y1 - y0) / anchors[level][a][1]),
                ],
                dtype=torch.float64,
            )
            x[0, a, row, column, :4] = torch.logit(doubled / 2)
            x[0, a, row, column, 4] = x[0, a, row, column, 5 + truth.gt_classes[g]] = 15.0
    return maps


@pytest.mark.parametrize("loss", ["balanced", "focal_giou_l1"])
def test_perfect_predictions_lose_nothing(loss):
    model = build("MODEL.YOLOv7.LOSS", loss, "MODEL.YOLOv7.OTA.ENABLED", False)
    truth = instances([[20, 20, 52, 50], [100, 40, 130, 80]], [0, 2])
    predictions = predictions_of(model, perfect_maps(model, truth))
    assigned = model.assign(predictions, [truth])
    assert all(len(level.anchors) > 0 for level in assigned.levels)
    for name, value in model.losses(predictions, assigned, None).items():
        assert 0 <= value < 1e-4, name


def test_the_papers_losses_are_sums_over_the_pairs():
    model = build("MODEL.YOLOv7.LOSS", "focal_giou_l1", "MODEL.YOLOv7.L1_WEIGHT", 0.5)
    maps = random_maps(model, len(TRUTHS))
    predictions = predictions_of(model, maps)
    assigned = model.assign(predictions, [instances(*truth) for truth in TRUTHS])
    losses = model.losses(predictions, assigned, None)
    assert set(losses) == {"loss_obj", "loss_giou", "loss_l1", "loss_cls"}
    anchors, count, l1, classes = anchors_of(model), 0, 0.0, 0.0
    for level, pairs in enumerate(found_pairs(model, maps, assigned)):
        kinds = assigned.levels[level].classes.tolist()
        for (image, a, row, column, x0, y0, x1, y1), kind in zip(pairs, kinds, strict=True):
            raw, stride = maps[level][image, a, row, column], STRIDES[level]
            count += 1
            centre = (x0 + x1) / 2 / stride - column, (y0 + y1) / 2 / stride - row
            width, height = (
                math.sqrt((x1 - x0) / anchors[level][a][0]),
                math.sqrt((y1 - y0) / anchors[level][a][1]),
            )
            wanted = centre[0] + 0.5, centre[1] + 0.5, width, height
            l1 += sum(abs(2 * v.sigmoid() - w) for v, w in zip(raw[:4], wanted, strict=True))
            for k, logit in enumerate(raw[5:]):
                p = logit.sigmoid() if k == kind else 1 - logit.sigmoid()
                classes -= (0.25 if k == kind else 0.75) * (1 - p) ** 2 * p.log()
    torch.testing.assert_close(losses["loss_l1"], 0.5 * l1 / count, rtol=1e-6, atol=0)
    torch.testing.assert_close(losses["loss_cls"], classes / count, rtol=1e-6, atol=0)


def test_a_class_that_is_not_annotated_is_never_a_negative():
    model = build()
    maps = random_maps(model, 2)
    predictions = predictions_of(model, maps)
    truths = [instances(*TRUTHS[0]), instances([[30, 30, 60, 60]], [1])]
    assigned = model.assign(predictions, truths)
    unlabelled = torch.tensor([[False, False, False], [True, False, False]])
    losses = model.losses(predictions, assigned, unlabelled)
    for x in maps:
        x.grad = None
    sum(losses.values()).backward()
    for x, level in zip(maps, assigned.levels, strict=True):
        second = level.images == 1
        x = x.grad[1].permute(1, 2, 0, 3).flatten(0, 2)  # rows of the feature map's anchors
        matched = torch.zeros(len(x), dtype=torch.bool)
        matched[level.anchors[second]] = True
        # An object of that class may be anywhere; where one of another class is, is known.
        assert not x[~matched].any() and not x[:, 5].any()
        assert x[matched][:, 4].all() and x[matched][:, 6:].all()


def test_confident_predictions_without_a_label_are_left_out():
    options = ("MODEL.MISSING_LABELS.ENABLED", True, "MODEL.MISSING_LABELS.CLASSES", ("RBC",))
    model = build(*options)
    maps = [x.detach() for x in random_maps(model, 1)]
    maps[0][0, 0, 1, 15, 4:6] = 5.0  # a red cell, far from any
    maps[0][0, 0, 8, 2, 4:7] = torch.tensor([5.0, -5.0, 5.0])  # a white one
    maps = [x.requires_grad_() for x in maps]
    predictions = predictions_of(model, maps)
    truth = instances([[60, 40, 84, 64]], [0])
    losses = model.losses(predictions, model.assign(predictions, [truth]), None)
    losses["loss_obj"].backward()
    assert maps[0].grad[0, 0, 1, 15, 4] == 0 and maps[0].grad[0, 0, 8, 2, 4] > 0


def image(boxes, classes, seed=0):
    """A model input with bright rectangles, one brightness a class, on a dark noisy ground."""
    pixels = torch.randn(3, *SIZE, generator=torch.Generator().manual_seed(seed)) * 5 + 40
    truth = instances(boxes, classes)
    for (x0, y0, x1, y1), k in zip(boxes, classes, strict=True):
        pixels[k, y0:y1, x0:x1] = 250
    return {"image": pixels, "instances": truth, "height": SIZE[0], "width": SIZE[1]}


def test_two_images_are_learnt():
    truths = ([[10, 10, 34, 36], [90, 30, 150, 90]], [2, 0]), ([[40, 20, 100, 76]], [1])
    model = build("MODEL.YOLOv7.SCALE_GAINS", False).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    batch = [image(*truth, seed=seed) for seed, truth in enumerate(truths)]
    history = []
    for _ in range(7):
        loss = sum(model(batch).values())
        history.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert history[-1] < 0.5 * history[0]


def test_a_step_against_the_gradient_lowers_the_papers_losses():
    model = build("MODEL.YOLOv7.LOSS", "focal_giou_l1").train()
    batch = [image([[10, 10, 34, 36], [90, 30, 150, 90]], [2, 0])]
    before = sum(model(batch).values())
    before.backward()
    norm = sum(x.grad.square().sum() for x in model.parameters())
    torch.optim.SGD(model.parameters(), lr=0.02 * before.item() / norm.item()).step()
    assert sum(model(batch).values()) < 0.995 * before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("MODEL.YOLOv7.LOSS", "ota"), r'MODEL\.YOLOv7\.LOSS is "ota"'),
        (("MODEL.YOLOv7.ACTIVATION", "mish"), r"ACTIVATION is 'mish'; known: .*silu"),
        (("MODEL.YOLOv7.BALANCE", [1.0, 1.0]), r"MODEL\.YOLOv7\.BALANCE has 2 numbers"),
    ],
)
def test_options_that_do_not_fit_name_the_key(options, message):
    with pytest.raises(ValueError, match=message):
        build(*options)
