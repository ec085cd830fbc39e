"""Views of an image, the way back from each, and TEST.AUG in an evaluation."""

import json

import numpy as np
import pytest
import torch
from detectron2.layers import cat
from detectron2.modeling import build_model, detector_postprocess
from detectron2.structures import Boxes, Instances
from tiny_training import SIZE, register_tiny_datasets, tiny_cfg
from torch import nn

from bccd.data.loading.loader import build_test_loader
from bccd.engine.evaluate import evaluate
from bccd.engine.trainer import BCCDTrainer
from bccd.modeling.tta import DetectorWithTTA, with_tta

# Grey value of a painted cell -> its box in an image of 120 x 160.
CELLS = {
    70: [8.0, 20.0, 48.0, 52.0],
    130: [100.0, 4.0, 120.0, 16.0],
    250: [60.0, 80.0, 156.0, 116.0],
}


class PaintedCells(nn.Module):
    """Detects exactly the painted rectangles that are in sight; records what it was given."""

    num_classes = 3

    def __init__(self, greys=tuple(CELLS)):
        super().__init__()
        self.greys = greys
        self.batches = []

    def forward(self, batched_inputs):
        self.batches.append(batched_inputs)
        return [{"instances": self.detect(inputs)} for inputs in batched_inputs]

    def detect(self, inputs):
        pixels = inputs["image"][0]
        boxes, classes = [torch.zeros(0, 4)], []
        for index, grey in enumerate(self.greys):
            ys, xs = torch.where(pixels == grey)
            if len(xs):
                box = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
                boxes.append(torch.tensor(box, dtype=torch.float32)[None])
                classes.append(index)
        result = Instances(tuple(pixels.shape), pred_boxes=Boxes(cat(boxes)))
        result.scores = 0.9 - 0.1 * torch.arange(len(classes))
        result.pred_classes = torch.tensor(classes, dtype=torch.int64)
        return detector_postprocess(result, inputs["height"], inputs["width"])


@pytest.fixture
def painted():
    """Record of an image of 120 x 160 whose output size is twice as large."""
    pixels = np.zeros((3, 120, 160), dtype=np.uint8)
    for grey, (x0, y0, x1, y1) in CELLS.items():
        pixels[:, int(y0) : int(y1), int(x0) : int(x1)] = grey
    return {"image": torch.from_numpy(pixels), "height": 240, "width": 320}


def with_options(cfg, *options):
    cfg.merge_from_list(["TEST.AUG.ENABLED", True, "INPUT.MIN_SIZE_TEST", 120, *options])
    return cfg


FLIPS = ["TEST.AUG.FLIP", True, "TEST.AUG.VERTICAL_FLIP", True]
NO_FLIPS = ["TEST.AUG.FLIP", False, "TEST.AUG.VERTICAL_FLIP", False]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (NO_FLIPS, 1),
        (["TEST.AUG.VERTICAL_FLIP", False], 2),
        (["TEST.AUG.FLIP", False], 2),
        (FLIPS, 4),
        ([*NO_FLIPS, "TEST.AUG.ROTATE90", True], 4),
        (["TEST.AUG.FLIP", False, "TEST.AUG.ROTATE90", True], 8),
        ([*FLIPS, "TEST.AUG.ROTATE90", True], 8),
        ([*FLIPS, "TEST.AUG.ROTATE90", True, "TEST.AUG.MIN_SIZES", (120, 240)], 16),
    ],
)
def test_every_view_is_different_and_leads_back_to_the_same_boxes(cfg, painted, options, expected):
    model = PaintedCells()
    detector, _ = with_tta(model, with_options(cfg, *options))
    instances = detector([painted])[0]["instances"]
    seen = {view["image"].numpy().tobytes() for batch in model.batches for view in batch}
    assert len(seen) == sum(map(len, model.batches)) == expected
    assert instances.image_size == (240, 320)
    # Resizing mixes the edge of a cell with the background, where it is then not found.
    tolerance = 1.0 if "TEST.AUG.MIN_SIZES" in options else 1e-4
    torch.testing.assert_close(
        instances.pred_boxes.tensor, 2 * torch.tensor([*CELLS.values()]), atol=tolerance, rtol=0
    )
    assert instances.pred_classes.tolist() == [0, 1, 2]
    assert instances.scores.tolist() == pytest.approx([0.9, 0.8, 0.7])


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("flip", [False, True])
def test_each_symmetry_alone_is_undone_exactly(painted, turns, flip):
    painted = {**painted, "height": 120, "width": 160}
    detector = DetectorWithTTA(
        PaintedCells(),
        resizes=[lambda inputs: None],
        symmetries=[(turns, flip)],
        merge=None,  # one view is not merged
        max_detections=-1,
    )
    assert detector([painted])[0]["instances"].pred_boxes.tensor.tolist() == [*CELLS.values()]


def test_vertical_flip_shows_the_image_upside_down(cfg, painted):
    model = PaintedCells()
    options = ["TEST.AUG.FLIP", False, "TEST.AUG.VERTICAL_FLIP", True]
    with_tta(model, with_options(cfg, *options))[0]([painted])
    upright, flipped = (view["image"] for batch in model.batches for view in batch)
    assert torch.equal(upright, painted["image"])
    assert torch.equal(flipped, painted["image"].flip(1))


@pytest.mark.parametrize(
    ("options", "shapes"),
    [
        (["TEST.AUG.MIN_SIZES", (60, 90)], {(60, 80), (80, 60), (90, 120), (120, 90)}),
        (["TEST.AUG.MIN_SIZES", (90,), "TEST.AUG.MAX_SIZE", 80], {(60, 80), (80, 60)}),
        (["INPUT.FIXED_SIZE", (64, 96)], {(64, 96)}),
        (["INPUT.FIXED_SIZE", (64, 96), "TEST.AUG.MIN_SIZES", (32, 64)], {(32, 48), (64, 96)}),
        (["INPUT.MIN_SIZE_TEST", 0], {(120, 160), (160, 120)}),
    ],
)
def test_sizes_of_the_views(cfg, painted, options, shapes):
    model = PaintedCells()
    with_tta(model, with_options(cfg, "TEST.AUG.ROTATE90", True, *options))[0]([painted])
    batches = [{tuple(view["image"].shape[1:]) for view in batch} for batch in model.batches]
    assert set.union(*batches) == shapes
    assert all(len(shapes) == 1 for shapes in batches)  # nothing is padded


def test_nothing_found_in_some_or_all_views(cfg, painted):
    blank = {**painted, "image": torch.zeros_like(painted["image"])}
    detector, _ = with_tta(PaintedCells(), with_options(cfg))
    none, some = (output["instances"] for output in detector([blank, painted]))
    assert (len(none), len(some)) == (0, 3)
    assert none.pred_boxes.tensor.shape == (0, 4)


def test_detections_are_capped(cfg, painted):
    detector, _ = with_tta(PaintedCells(), with_options(cfg, "TEST.DETECTIONS_PER_IMAGE", 2))
    assert detector([painted])[0]["instances"].pred_classes.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [("MERGE", "mean", "use one of wbf, nms"), ("MERGE_IOU", 1.5, "expected between 0 and 1")],
)
def test_values_that_cannot_work_are_errors(cfg, key, value, expected):
    with pytest.raises(ValueError, match=rf"TEST\.AUG\.{key} is .*{expected}"):
        with_tta(PaintedCells(), with_options(cfg, f"TEST.AUG.{key}", value))


def test_off_nothing_is_wrapped_or_changed(cfg):
    model = PaintedCells()
    assert with_tta(model, cfg) == (model, cfg)


DETECTORS = ["configs/SSD/ssd_lite_bccd.yaml", "configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml"]


@pytest.mark.parametrize("config", DETECTORS)
def test_the_upright_view_alone_gives_what_the_model_gives(cfg, config):
    cfg.merge_from_file(config)
    plain, upright = with_options(cfg.clone()), with_options(cfg.clone(), *NO_FLIPS)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    detector, original = with_tta(model, upright)
    with torch.no_grad():
        expected = model(next(iter(build_test_loader(plain, "smears_val"))))[0]["instances"]
        actual = detector(next(iter(build_test_loader(original, "smears_val"))))[0]["instances"]
    assert len(expected) > 0
    assert actual.image_size == expected.image_size
    assert torch.equal(actual.pred_boxes.tensor, expected.pred_boxes.tensor)
    assert torch.equal(actual.scores, expected.scores)
    assert torch.equal(actual.pred_classes, expected.pred_classes)


@pytest.mark.parametrize("config", DETECTORS)
def test_all_views_of_a_real_detector_give_sound_detections(cfg, config):
    cfg.merge_from_file(config)
    with_options(cfg, "TEST.AUG.ROTATE90", True, "INPUT.MIN_SIZE_TEST", 64)
    torch.manual_seed(0)
    detector, original = with_tta(build_model(cfg).eval(), cfg)
    inputs = next(iter(build_test_loader(original, "smears_val")))
    assert inputs[0]["image"].shape[1:] == (inputs[0]["height"], inputs[0]["width"])
    with torch.no_grad():
        instances = detector(inputs)[0]["instances"]
    assert 0 < len(instances) <= cfg.TEST.DETECTIONS_PER_IMAGE
    assert instances.pred_boxes.tensor.isfinite().all()
    assert torch.equal(instances.scores, instances.scores.sort(descending=True).values)


def test_eval_only_detects_in_views_and_training_does_not(tmp_path, monkeypatch):
    register_tiny_datasets(tmp_path)
    out = tmp_path / "out"
    options = ["TEST.AUG.ENABLED", True, "TEST.AUG.MIN_SIZES", (SIZE, 2 * SIZE)]
    cfg = tiny_cfg(out, *options, "SOLVER.MAX_ITER", 1)
    calls = []
    forward = DetectorWithTTA.forward
    monkeypatch.setattr(
        DetectorWithTTA, "forward", lambda self, x: calls.append(len(x)) or forward(self, x)
    )
    trainer = BCCDTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    assert not calls

    cfg.MODEL.WEIGHTS = str(out / "model_final.pth")
    results = evaluate(cfg)
    assert sum(calls) == 8
    assert "AP" in results["bbox"]
    timing = json.loads((out / "inference" / "timing.json").read_text())
    assert timing["model_mean"] > 0
