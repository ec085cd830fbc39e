"""Sparse R-CNN, the published one and ours: any amount of ground truth, broken numbers, limits."""

import copy
import math

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils import comm

CONFIG = "configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml"


@pytest.fixture(params=["published", "softmax", "recipe"])
def tiny_cfg(cfg, request):
    cfg.merge_from_file(str(request.config.rootpath / CONFIG))
    cfg.MODEL.DEVICE = "cpu"
    cfg.MODEL.RESNETS.STEM_OUT_CHANNELS = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS = 16
    cfg.MODEL.FPN.OUT_CHANNELS = cfg.MODEL.SparseRCNN.HIDDEN_DIM = 16
    cfg.MODEL.SparseRCNN.NUM_PROPOSALS = 10
    cfg.MODEL.SparseRCNN.DIM_FEEDFORWARD = 32
    cfg.MODEL.SparseRCNN.DIM_DYNAMIC = 8
    if request.param != "recipe":
        cfg.INPUT.UNLABELLED_IF_ABSENT = ()
        cfg.MODEL.SparseRCNN.PROPOSALS = "learnt"
        cfg.MODEL.SparseRCNN.DENSE_WEIGHT = 0.0
        cfg.MODEL.SparseRCNN.QUALITY_SCORES = False
        cfg.MODEL.SparseRCNN.USE_FOCAL = request.param != "softmax"
    return cfg


def make_inputs(*counts, size=(64, 96)):
    generator = torch.Generator().manual_seed(0)
    inputs = []
    for count in counts:
        corner = torch.rand(count, 2, generator=generator) * 50
        instances = Instances(size)
        instances.gt_boxes = Boxes(torch.cat([corner, corner + 12], dim=1))
        instances.gt_classes = torch.randint(0, 3, (count,), generator=generator)
        image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
        inputs.append({"image": image, "instances": instances})
    return inputs


def build(cfg):
    torch.manual_seed(0)
    return build_model(cfg)


def loss_names(cfg, suffixes=("", "_0", "_1")):
    names = {f"loss_{kind}{suffix}" for kind in ("ce", "bbox", "giou") for suffix in suffixes}
    if cfg.MODEL.SparseRCNN.DENSE_WEIGHT:
        names |= {"loss_dense_ce", "loss_dense_giou"}
    return names


@pytest.mark.parametrize("counts", [(0, 0), (3, 0), (0, 25), (25, 1)])
def test_any_number_of_boxes_trains_every_parameter(tiny_cfg, counts):
    model = build(tiny_cfg).train()
    losses = model(make_inputs(*counts))
    assert set(losses) == loss_names(tiny_cfg)
    assert all(torch.isfinite(loss) for loss in losses.values())
    if not sum(counts):
        assert losses["loss_bbox"] == losses["loss_giou"] == 0
    sum(losses.values()).backward()
    for name, param in model.head.named_parameters():
        assert param.grad is not None, name  # DDP waits for every parameter
        assert torch.isfinite(param.grad).all(), name
    shared = ["backbone.fpn_output2"]
    if tiny_cfg.MODEL.SparseRCNN.PROPOSALS == "learnt":
        shared += ["init_proposal_features", "init_proposal_boxes"]
    for name in shared:
        grad = model.get_submodule(name).weight.grad
        assert grad is not None and torch.isfinite(grad).all()


def test_without_deep_supervision_the_last_stage_alone_has_losses(tiny_cfg):
    tiny_cfg.MODEL.SparseRCNN.DEEP_SUPERVISION = False
    model = build(tiny_cfg).train()
    losses = model(make_inputs(3, 2))
    assert set(losses) == loss_names(tiny_cfg, suffixes=[""])
    sum(losses.values()).backward()
    for name, param in model.head.named_parameters():
        assert (param.grad is not None) == param.requires_grad, name


def test_training_lowers_the_loss(tiny_cfg):
    model, inputs = build(tiny_cfg).train(), make_inputs(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    totals = []
    for _ in range(60):
        loss = sum(model(inputs).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.7 * totals[0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_broken_numbers_never_reach_the_assignment_or_the_output(tiny_cfg, bad):
    model, inputs = build(tiny_cfg), make_inputs(3, 2)
    with torch.no_grad():
        model.head.head_series[0].bboxes_delta.bias.fill_(bad)
    losses = model.train()(inputs)
    assert not torch.isfinite(sum(losses.values()))  # for the trainer to report
    outputs = model.eval()(inputs)
    for output in outputs:
        assert torch.isfinite(output["instances"].pred_boxes.tensor).all()
        assert torch.isfinite(output["instances"].scores).all()


def test_one_proposal_of_nan_leaves_the_others_their_losses(tiny_cfg):
    criterion = build(tiny_cfg).criterion
    instances = [x["instances"] for x in make_inputs(3, 2)]
    logits = torch.randn(1, 2, 10, 3 if tiny_cfg.MODEL.SparseRCNN.USE_FOCAL else 4)
    corner = torch.rand(1, 2, 10, 2) * 40
    boxes = torch.cat([corner, corner + 20], dim=-1)
    boxes[0, 0, 4] = math.nan
    losses = criterion(logits, boxes, instances)
    assert torch.isfinite(losses["loss_bbox"]) and torch.isfinite(losses["loss_giou"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_keeps_boxes_and_losses_in_fp32(tiny_cfg, dtype):
    model, inputs = build(tiny_cfg).train(), make_inputs(3, 0)
    exact = model(inputs)
    with torch.autocast("cpu", dtype=dtype):
        losses = model(inputs)
    for name, loss in losses.items():
        assert loss.dtype == torch.float32 and torch.isfinite(loss), name
    # Random stages, and the choice of the best proposals, amplify rounding.
    first = sorted(name for name in losses if "dense" in name) or ["loss_ce_0", "loss_giou_0"]
    for name in first:
        torch.testing.assert_close(losses[name], exact[name], rtol=0.1, atol=0.05, msg=name)
    sum(losses.values()).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad(), torch.autocast("cpu", dtype=dtype):
        instances = model.eval()(inputs)[0]["instances"]
    assert instances.pred_boxes.tensor.dtype == instances.scores.dtype == torch.float32


def test_score_threshold_and_cap_take_the_best(tiny_cfg):
    model = build(tiny_cfg).eval()
    logits = torch.randn(2, 10, 3 if tiny_cfg.MODEL.SparseRCNN.USE_FOCAL else 4)
    corner = torch.rand(2, 10, 2) * 40
    boxes = torch.cat([corner, corner + 20], dim=-1)
    everything = model.inference(logits, boxes, [(64, 96)] * 2)
    model.max_detections = 4
    capped = model.inference(logits, boxes, [(64, 96)] * 2)
    model.score_thresh = float(everything[0].scores[2])
    above = model.inference(logits, boxes, [(64, 96)] * 2)
    assert [len(x) for x in everything] == [10, 10] and [len(x) for x in capped] == [4, 4]
    assert len(above[0]) == 3
    for result, full in zip(capped + above, everything * 2, strict=True):
        assert (full.scores.diff() <= 0).all()
        for field in ("scores", "pred_classes"):
            assert (result.get(field) == full.get(field)[: len(result)]).all()
        assert (result.pred_boxes.tensor == full.pred_boxes.tensor[: len(result)]).all()


def test_limits_come_from_the_config(tiny_cfg):
    tiny_cfg.TEST.DETECTIONS_PER_IMAGE = 6
    assert len(build(tiny_cfg).eval()(make_inputs(1))[0]["instances"]) <= 6
    tiny_cfg.TEST.DETECTIONS_PER_IMAGE = -1
    assert build(tiny_cfg).max_detections == 10
    tiny_cfg.MODEL.SparseRCNN.SCORE_THRESH_TEST = 0.9
    assert len(build(tiny_cfg).eval()(make_inputs(1))[0]["instances"]) == 0


def test_earlier_stages_do_not_classify_at_inference(tiny_cfg):
    model = build(tiny_cfg).eval()
    calls = []
    for i, stage in enumerate(model.head.head_series):
        stage.class_logits.register_forward_hook(lambda *_, i=i: calls.append(i))
    model(make_inputs(1))
    assert calls == [2]


def test_one_copy_from_the_device_for_the_assignment(tiny_cfg, monkeypatch):
    model, inputs = build(tiny_cfg).train(), make_inputs(3, 2, 4)
    copies = []
    to_host = torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: copies.append(x.shape) or to_host(x))
    model(inputs)
    assert copies == [(3, 3, 10, 4)]


def test_losses_are_normalised_by_the_mean_number_of_boxes_of_all_processes(tiny_cfg, monkeypatch):
    model, inputs = build(tiny_cfg).train(), make_inputs(3, 1)
    alone = model(inputs)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: total.add_(8))
    monkeypatch.setattr(comm, "get_world_size", lambda: 2)
    for name, loss in model(inputs).items():  # this process has 4 boxes, the other 8
        softmax = "ce" in name and not tiny_cfg.MODEL.SparseRCNN.USE_FOCAL  # a mean over proposals
        if "dense" in name or softmax:  # the dense loss is normalised by its own sum
            continue
        torch.testing.assert_close(loss, alone[name] * 4 / 6, msg=name)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_losses_and_detections_of_the_cpu(tiny_cfg):
    inputs = make_inputs(3, 2)
    on_cpu = build(tiny_cfg)
    on_gpu = copy.deepcopy(on_cpu).cuda()
    for name, loss in on_gpu.train()(inputs).items():
        torch.testing.assert_close(loss.cpu(), on_cpu(inputs)[name], atol=1e-3, rtol=1e-3, msg=name)


def test_fewer_stages_at_inference_detect_what_the_last_of_them_predicts(tiny_cfg):
    tiny_cfg.MODEL.SparseRCNN.STAGES_TEST = 2
    inputs, model = make_inputs(3), build(tiny_cfg).eval()
    for stage in model.head.head_series:  # they start without moving boxes
        torch.nn.init.normal_(stage.bboxes_delta.weight, std=0.1)
    with torch.no_grad():
        fewer = model(inputs)[0]["instances"]
        del model.head.head_series[2:]
        alone = model(inputs)[0]["instances"]
    assert torch.equal(fewer.pred_boxes.tensor, alone.pred_boxes.tensor)
    assert torch.equal(fewer.scores, alone.scores)


def test_all_stages_are_trained_whatever_inference_uses(tiny_cfg):
    tiny_cfg.MODEL.SparseRCNN.STAGES_TEST = 1
    assert build(tiny_cfg).train()(make_inputs(3)).keys() == loss_names(tiny_cfg)
