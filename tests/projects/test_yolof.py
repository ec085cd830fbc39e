"""YOLOF: sizes of the paper's models, names of its weights, matching and losses, learning."""

import copy
import math
import runpy
from pathlib import Path

import pytest
import reference_yolof
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bccd.config import get_bccd_cfg
from bccd.engine.checkpoint import read_checkpoint
from bccd.modeling.assigners.labels import IGNORED
from bccd.modeling.dense_predictions import DensePredictions
from bccd.projects.yolof.box_transform import CentreClampedBox2BoxTransform
from bccd.projects.yolof.decoder import join_objectness

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "YOLOF"
convert = runpy.run_path(str(ROOT / "tools" / "convert_yolof.py"))["convert"]


def read(name, *options):
    cfg = get_bccd_cfg()
    cfg.merge_from_file(str(CONFIGS / f"{name}.yaml"))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    cfg.merge_from_list(list(options))
    return cfg


def build_on_meta(*args):
    cfg = read(*args)
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        return build_model(cfg)


def count(module):
    return sum(p.numel() for p in module.parameters())


def narrow(**options):
    """A model of few channels with a stride of 32, for images of 128 x 160."""
    options = {
        "MODEL.RESNETS.STEM_OUT_CHANNELS": 16,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
        "MODEL.RESNETS.RES5_DILATION": 1,
        "MODEL.YOLOF.ENCODER.NUM_CHANNELS": 32,
        "MODEL.YOLOF.ENCODER.BLOCK_MID_CHANNELS": 8,
        "MODEL.YOLOF.ENCODER.BLOCK_DILATIONS": (1, 2),
        "MODEL.ANCHOR_GENERATOR.SIZES": [[16, 32, 64]],
        "INPUT.UNLABELLED_IF_ABSENT": (),
        "MODEL.YOLOF.BOX_TRANSFORM.CTR_CLAMP": 32.0,
        "MODEL.YOLOF.MATCHER.POS_IGNORE_THRESHOLD": 0.15,
        **options,
    }
    torch.manual_seed(0)
    return build_model(read("yolof_lite_bccd", *(x for pair in options.items() for x in pair)))


def test_sizes_are_those_of_the_published_models():
    classes = ("MODEL.YOLOF.NUM_CLASSES", 80)
    model = build_on_meta("yolof_r50_c5_bccd", *classes)
    assert (count(model.backbone), count(model.head.encoder)) == (23_454_912, 4_534_272)
    assert (count(model.head.decoder), count(model)) == (16_123_817, 44_113_001)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == 43_890_601  # the stem and res2 are frozen
    assert count(build_on_meta("yolof_r50_c5_bccd")) == 42_338_536


def test_operations_are_those_of_the_published_model():
    model = build_on_meta("yolof_r50_c5_bccd", "MODEL.YOLOF.NUM_CLASSES", 80).eval()

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.head([model.backbone(torch.zeros(1, 3, 640, 640, device="meta"))["res5"]])
    assert counter.get_total_flops() / 1e9 == pytest.approx(79.5, abs=0.05)


def test_dc5_has_a_stride_of_16_and_what_the_paper_changes_with_it():
    model = build_on_meta("yolof_r50_dc5_bccd")
    assert model.anchor_generator.strides == [16] and model.anchor_generator.num_anchors == [6]
    assert [b.conv2.dilation for b in model.head.encoder.blocks] == [(d, d) for d in (4, 8, 12, 16)]
    assert model.matching == {"topk": 8, "min_anchor_iou": 0.1, "max_negative_iou": 0.7}


def test_relu_stands_before_the_sum_and_not_in_the_projection():
    encoder = narrow().head.encoder.eval()
    assert encoder.lateral.activation is None and encoder.output.activation is None
    x = -torch.rand(1, 32, 4, 5)
    block = encoder.blocks[0]
    torch.testing.assert_close(block(x) - x, block.conv3(block.conv2(block.conv1(x))))
    assert (block(x) < 0).any() and (block(x) >= x).all()


def test_training_starts_as_published():
    head = narrow().head
    assert head.decoder.cls_score.bias.sigmoid().tolist() == pytest.approx([0.01] * 9)
    drawn = [m for m in head.modules() if isinstance(m, nn.Conv2d)]
    drawn = [m for m in drawn if m not in (head.encoder.lateral, head.encoder.output)]
    assert torch.cat([m.weight.flatten() for m in drawn]).std().item() == pytest.approx(0.01, 0.05)
    assert all(m.bias is not None for m in drawn)


def test_joined_logits_are_those_of_the_product_without_overflow():
    logits, objectness = torch.randn(2, 50, dtype=torch.float64).mul(4).unbind(0)
    joined = join_objectness(logits, objectness)
    torch.testing.assert_close(joined.sigmoid(), logits.sigmoid() * objectness.sigmoid())
    large = torch.tensor([500.0, -500.0, 500.0], requires_grad=True)
    joined = join_objectness(large, torch.tensor([500.0, 50.0, -500.0]))
    assert joined.tolist() == pytest.approx([500 - math.log(2), -500, -500])
    joined.sum().backward()
    assert large.grad.isfinite().all()


def test_boxes_are_rcnns_with_a_clamped_centre_and_size():
    transform = CentreClampedBox2BoxTransform((1.0, 1.0, 1.0, 1.0), 32.0)
    anchors = torch.tensor([[0.0, 0, 64, 32]]).repeat(3, 1)
    deltas = torch.tensor(
        [[0.25, -0.5, 0.1, -0.2], [2.0, -3.0, 0, 0], [0, 0, 9.0, 1.0]], dtype=torch.float64
    ).requires_grad_()
    boxes = transform.apply_deltas(deltas, anchors)
    expected = [
        reference_yolof.box_of(d, a) for d, a in zip(deltas.tolist(), anchors.tolist(), strict=True)
    ]
    torch.testing.assert_close(boxes, torch.tensor(expected, dtype=torch.float64))
    boxes.square().sum().backward()
    assert (deltas.grad[1, :2] == 0).all() and deltas.grad[2, 2] == 0  # clamped: no gradient


TRUTHS = [
    # By hand: a small box, one that shares its nearest anchor with the next, a large one.
    ([[10.0, 12, 30, 30], [60, 50, 100, 90], [62, 54, 104, 96]], [2, 0, 1]),
    ([], []),
    ([[0.0, 0, 128, 96], [130, 100, 158, 126]], [1, 0]),
]


def batch(truths, dtype=torch.float32):
    samples = []
    for seed, (boxes, classes) in enumerate(truths):
        instances = Instances((128, 160))
        instances.gt_boxes = Boxes(torch.tensor(boxes, dtype=dtype).reshape(-1, 4))
        instances.gt_classes = torch.tensor(classes, dtype=torch.int64)
        pixels = torch.rand(3, 128, 160, generator=torch.Generator().manual_seed(seed)) * 255
        samples.append({"image": pixels.to(dtype), "instances": instances})
    return samples


def random_predictions(model, seed, images=3):
    features = [torch.zeros(images, 1, 4, 5)]
    anchors = model.anchor_generator(features)
    generator = torch.Generator().manual_seed(seed)
    shape = (images, len(anchors[0]))
    logits = torch.randn(*shape, 3, generator=generator, dtype=torch.float64) * 2
    deltas = torch.randn(*shape, 4, generator=generator, dtype=torch.float64) * 0.3
    return DensePredictions([logits.requires_grad_()], [deltas.requires_grad_()], anchors, [32])


@pytest.mark.parametrize("seed", range(3))
def test_matching_and_losses_are_those_of_the_rule_pair_by_pair(seed):
    model = narrow().double()
    predictions = random_predictions(model, seed)
    with torch.no_grad():  # one prediction that is nearly right without being near
        exact = model.box2box_transform.get_deltas(
            predictions.anchors[0].tensor[7:8], torch.tensor([[60.0, 50, 100, 90]]).double()
        )
        predictions.boxes[0][0, 7] = exact[0] + 1e-3
    truths = [sample["instances"] for sample in batch(TRUTHS, torch.float64)]
    assigned = model.assign(predictions, truths)
    losses = model.losses(predictions, assigned, None)
    expected_cls, expected_giou, labels = reference_yolof.losses(
        predictions.logits[0], predictions.boxes[0], predictions.anchors[0].tensor, TRUTHS
    )
    assert assigned.classes.tolist() == labels
    assert {IGNORED, 0, 1, 2, 3} >= set(assigned.classes.flatten().tolist()) > {IGNORED, 3}
    assert losses["loss_cls"].item() == pytest.approx(expected_cls, rel=1e-9)
    assert losses["loss_giou"].item() == pytest.approx(expected_giou, rel=1e-9)
    assert losses["loss_cls"].dtype == torch.float64
    sum(losses.values()).backward()
    touched = predictions.boxes[0].grad.abs().sum(2) > 0
    assert torch.equal(touched.nonzero().unique(dim=0)[:, 0].unique(), torch.tensor([0, 2]))


def test_padding_of_the_batch_changes_no_target():
    model = narrow()
    predictions = random_predictions(model, 0)
    truths = [sample["instances"] for sample in batch(TRUTHS)]
    together = model.assign(predictions, truths)
    for i, truth in enumerate(truths):
        alone = DensePredictions(
            [predictions.logits[0][i : i + 1]],
            [predictions.boxes[0][i : i + 1]],
            predictions.anchors,
            [32],
        )
        assert torch.equal(model.assign(alone, [truth]).classes[0], together.classes[i])


def test_the_bccd_papers_losses_are_an_option():
    model = narrow(**{"MODEL.YOLOF.L1_WEIGHT": 0.5}).double()
    predictions = random_predictions(model, 0, images=1)
    truths = [batch(TRUTHS[:1], torch.float64)[0]["instances"]]
    assigned = model.assign(predictions, truths)
    losses = model.losses(predictions, assigned, None)
    anchors = predictions.anchors[0].tensor[assigned.anchors]
    wanted = model.box2box_transform.get_deltas(anchors, assigned.boxes)
    found = predictions.boxes[0][0, assigned.anchors]
    positives = (assigned.classes[0] >= 0).logical_and(assigned.classes[0] < 3).sum()
    expected = 0.5 * (found - wanted).abs().sum() / positives
    torch.testing.assert_close(losses["loss_l1"], expected)


def test_confident_predictions_of_classes_with_missing_labels_are_no_negatives():
    keys = {"MODEL.MISSING_LABELS.ENABLED": True, "MODEL.MISSING_LABELS.CLASSES": ("RBC",)}
    model, plain = narrow(**keys), narrow()
    predictions = random_predictions(model, 0, images=1)
    with torch.no_grad():
        predictions.logits[0][0, -1] = torch.tensor([8.0, 0.0, 0.0])
        predictions.boxes[0][0, -1] = 0.0
    truths = [batch(TRUTHS[:1])[0]["instances"]]
    found, full = (
        m.losses(predictions, m.assign(predictions, truths), None)["loss_cls"]
        for m in (model, plain)
    )
    assert found < full - 0.5


def test_a_model_in_float64_computes_in_it_throughout():
    model = narrow(**{"MODEL.YOLOF.L1_WEIGHT": 0.5}).train()
    exact = copy.deepcopy(model).double()
    losses, expected = model(batch(TRUTHS)), exact(batch(TRUTHS))
    assert all(loss.dtype == torch.float64 for loss in expected.values())
    for name, loss in losses.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-3)
    found = exact.eval()(batch(TRUTHS))[0]["instances"]
    assert found.scores.dtype == torch.float64


@pytest.mark.parametrize("classes", [1, 5])
def test_one_and_five_classes_train_and_detect(classes):
    model = narrow(**{"MODEL.YOLOF.NUM_CLASSES": classes}).train()
    losses = model(batch([([[20, 20, 52, 54]], [classes - 1]), ([], [])]))
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    model.score_threshold = 0.0
    found = model.eval()(batch(TRUTHS[1:2]))[0]["instances"]
    assert set(found.pred_classes.tolist()) == set(range(classes))


def reference_names(name):
    """The authors' name of a weight of ours."""
    for tower, theirs in (("cls_tower", "cls_subnet"), ("reg_tower", "bbox_subnet")):
        if name.startswith(f"head.decoder.{tower}."):
            index, rest = name.removeprefix(f"head.decoder.{tower}.").split(".", 1)
            part = rest.startswith("norm.")
            return f"decoder.{theirs}.{3 * int(index) + part}.{rest.removeprefix('norm.')}"
    for ours, theirs in (("lateral", "lateral"), ("output", "fpn")):
        for inside, kind in ((".norm.", "norm"), (".", "conv")):
            start = f"head.encoder.{ours}{inside}"
            if name.startswith(start):
                return f"encoder.{theirs}_{kind}.{name.removeprefix(start)}"
    if name.startswith("head.encoder.blocks."):
        index, conv, rest = name.removeprefix("head.encoder.blocks.").split(".", 2)
        part, rest = ("1", rest.removeprefix("norm.")) if "norm." in rest else ("0", rest)
        return f"encoder.dilated_encoder_blocks.{index}.{conv}.{part}.{rest}"
    return name.removeprefix("head.")


@pytest.fixture(scope="module")
def reference_file(tmp_path_factory):
    """(a checkpoint with the names of the authors', the model of its weights)."""
    model = build_on_meta("yolof_r50_c5_bccd", "MODEL.YOLOF.NUM_CLASSES", 5).to_empty(device="cpu")
    weights = {reference_names(name): x for name, x in model.state_dict().items()}
    weights["pixel_mean"] = weights["pixel_std"] = torch.zeros(3, 1, 1)
    assert len(weights) == 413
    path = tmp_path_factory.mktemp("yolof") / "reference.pth"
    torch.save({"model": weights, "iteration": 3}, path)
    return path, model


def test_a_checkpoint_of_the_authors_is_converted_name_by_name(reference_file, tmp_path):
    path, model = reference_file
    convert(str(path), str(tmp_path / "ours.pth"), str(CONFIGS / "yolof_r50_c5_bccd.yaml"))
    found = read_checkpoint(tmp_path / "ours.pth")["model"]
    expected = model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k].nan_to_num(), expected[k].nan_to_num()) for k in expected)


def test_a_checkpoint_of_another_model_is_refused_by_name(reference_file, tmp_path):
    path, _ = reference_file
    target = str(tmp_path / "ours.pth")
    with pytest.raises(ValueError, match=r"reference.pth does not fit.*head.decoder.bbox_pred"):
        convert(str(path), target, str(CONFIGS / "yolof_r50_dc5_bccd.yaml"))
    other = tmp_path / "other.pth"
    torch.save({"model": {"fc.weight": torch.zeros(2)}}, other)
    with pytest.raises(ValueError, match=r"other.pth: fc.weight is no name"):
        convert(str(other), target, str(CONFIGS / "yolof_r50_c5_bccd.yaml"))
    assert not (tmp_path / "ours.pth").exists()


def test_training_on_two_images_finds_their_cells():
    model = narrow().train()
    truths = [([[20, 20, 52, 54], [100, 60, 130, 92]], [0, 2]), ([[40, 30, 100, 94]], [1])]
    samples = batch(truths)
    for sample, (boxes, classes) in zip(samples, truths, strict=True):
        sample["image"] *= 0.1
        for (x0, y0, x1, y1), kind in zip(boxes, classes, strict=True):
            sample["image"][kind, y0:y1, x0:x1] = 250
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=60)
    for _ in range(60):
        loss = sum(model(samples).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay.step()
    model.eval()
    for sample, (boxes, classes) in zip(samples, truths, strict=True):
        found = model([sample])[0]["instances"]
        found = found[found.scores > 0.3]
        order = found.pred_classes.argsort()
        assert found.pred_classes[order].tolist() == classes
        wanted = torch.tensor(boxes, dtype=torch.float32)
        torch.testing.assert_close(found.pred_boxes.tensor[order], wanted, atol=6, rtol=0)


def test_a_config_error_names_the_key():
    with pytest.raises(ValueError, match=r"MODEL\.YOLOF\.IN_FEATURES is \['res4', 'res5'\]"):
        narrow(**{"MODEL.YOLOF.IN_FEATURES": ["res4", "res5"]})
