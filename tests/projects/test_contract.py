"""What every detector does, run over all that ``import_projects()`` finds and over a toy one.

A detector needs no line here. It is tested with the smallest of its configs, those in ``configs/``
and in its project's folder ``configs/``, on images of 64 pixels; the others are built.
"""

import copy
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.env import seed_all_rng
from torch.optim.swa_utils import update_bn

from bccd.benchmark.split import split, watch_model, watch_training
from bccd.benchmark.workload import Workload, smear_batch
from bccd.config import get_bccd_cfg, merge_yaml
from bccd.data.records import model_class_names
from bccd.data.synthetic import draw_smear
from bccd.data.transforms.augmentation import build_augmentations
from bccd.engine.classes import check_class_count
from bccd.engine.optimizer import build_optimizer
from bccd.engine.setup import check_config
from bccd.engine.trainer import BCCDTrainer
from bccd.export.check import find_differences
from bccd.export.detector import NO_DETECTION, exportable, is_exportable
from bccd.export.runtime import load
from bccd.export.save import export_detector
from bccd.model_card import build_card, to_markdown
from bccd.modeling.dense import SingleStageDetector
from bccd.modeling.fast_inference.prepare import prepare_for_inference
from bccd.projects import import_projects

ROOT = Path(__file__).parents[2]
TOY = str(ROOT / "tests" / "toy_detector")
SIZE = (64, 96)


def find_configs():
    """Package name of each project -> its configs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BCCD_PROJECTS", TOY)
        projects = import_projects()
        found = {}
        for project in projects:
            own = Path(project.__file__).parents[1] / "configs"
            for path in (*sorted(ROOT.glob("configs/*/*.yaml")), *sorted(own.glob("*.yaml"))):
                meta_arch = CfgNode.load_yaml_with_base(str(path)).get("MODEL", {})
                meta_arch = meta_arch.get("META_ARCHITECTURE")
                if meta_arch and _architecture(meta_arch).__module__.startswith(project.__name__):
                    found.setdefault(project.__name__, []).append(path)
        assert set(found) == {project.__name__ for project in projects}, "a detector has no config"
    return found


def _architecture(name):
    return META_ARCH_REGISTRY.get(name)


CONFIGS = find_configs()
EVERY_CONFIG = [path for paths in CONFIGS.values() for path in paths]


@pytest.fixture(autouse=True, scope="module")
def _toy_detector():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BCCD_PROJECTS", TOY)
        yield


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda name: name.rpartition(".")[2])
def config(request):
    """The smallest config of a detector."""
    return smallest(request.param)


@cache
def smallest(project):
    def parameters(path):
        return sum(p.numel() for p in build_on_meta(read(path)).parameters())

    return min(CONFIGS[project], key=parameters)


def read(path, *options):
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(path))
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS, cfg.DATALOADER.NUM_WORKERS = "cpu", "", 0
    if not cfg.INPUT.FIXED_SIZE:
        cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = SIZE
    cfg.merge_from_list(list(options))
    return cfg


def build_on_meta(cfg):
    """The model without memory for its weights, in no time."""
    with torch.device("meta"):
        cfg = cfg.clone()
        cfg.MODEL.DEVICE = "meta"
        return build_model(cfg)


@pytest.fixture(scope="module")
def built(config):
    """(cfg, model) with random weights that give every score a value of its own; change neither."""
    cfg = read(config)
    torch.manual_seed(3)
    model = build_model(cfg)
    for parameter in model.parameters():
        if parameter.dim() == 1 and parameter.requires_grad:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    # Statistics of real images: through many small weights, no output would depend on the image.
    update_bn([[inputs(cfg, 3, 3)]], model)
    return cfg, model.eval()


@pytest.fixture
def detector(built):
    """(cfg, a copy of the model in eval mode)."""
    cfg, model = built
    return cfg.clone(), copy.deepcopy(model)


def inputs(cfg, *counts):
    """A smear for each number of boxes to keep in it; resized as for testing."""
    batch = smear_batch(cfg, SIZE, len(counts))
    for sample, count in zip(batch, counts, strict=True):
        sample["instances"] = sample["instances"][:count]
    return batch


def gradients(model):
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("path", EVERY_CONFIG, ids=lambda path: path.stem)
def test_every_config_builds_all_that_training_needs(path):
    cfg = read(path)
    check_config(cfg)
    assert build_augmentations(cfg, is_train=True) and build_augmentations(cfg, is_train=False)
    model = build_on_meta(cfg)
    check_class_count(model, model_class_names(cfg))
    assert len(build_optimizer(cfg, model).param_groups) > 0
    for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.VAL, *cfg.DATASETS.TEST):
        assert name in DatasetCatalog


def test_any_number_of_boxes_trains_the_same_parameters(detector):
    cfg, model = detector
    trained = []
    for counts in ((30, 3), (5, 0), (0, 0)):
        model.zero_grad(set_to_none=True)
        losses = model.train()(inputs(cfg, *counts))
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
        sum(losses.values()).backward()
        assert all(gradient.isfinite().all() for gradient in gradients(model).values())
        trained.append(set(gradients(model)))  # DistributedDataParallel waits for them
    assert trained[0] and all(names == trained[0] for names in trained)


def test_a_box_without_area_has_no_effect_that_is_not_finite(detector):
    cfg, model = detector
    batch = inputs(cfg, 2, 2)
    truth = Instances(batch[0]["instances"].image_size)
    truth.gt_boxes = Boxes(torch.tensor([[5.0, 5, 5, 9], [8, 8, 8, 8]]))
    truth.gt_classes = torch.tensor([0, 1])
    batch[0]["instances"] = truth
    losses = model.train()(batch)
    sum(losses.values()).backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert all(gradient.isfinite().all() for gradient in gradients(model).values())


def test_it_tells_which_places_learn_which_box(detector):
    cfg, model = detector
    if getattr(type(model), "matched", None) is SingleStageDetector.matched:
        pytest.skip(f"{type(model).__name__} does not say which anchors it matched")
    batch = inputs(cfg, 5, 0, 1)
    found = model.train().learning_places(batch)
    assert [set(places.truths.tolist()) for places in found[1:]] == [set(), {0}]
    learnt = found[0].truths
    assert len(learnt.unique()) >= 3 and learnt.min() >= 0 and learnt.max() < 5
    for places in found:
        chosen = places.group.bincount(minlength=len(places.groups))
        assert len(chosen) == len(places.totals) == len(places.groups)
        assert len(places.points) == len(places.group) == len(places.truths)
        assert not places.points.requires_grad
        places_of_each = zip(places.groups, places.totals, strict=True)
        for number, (_, total) in enumerate(places_of_each):
            of_group = places.points[places.group == number]
            assert len(of_group.unique(dim=0)) <= total
    # Of boxes in another order, the same places.
    order = torch.tensor([3, 0, 4, 1, 2])
    batch[0]["instances"] = batch[0]["instances"][order]
    again = model.learning_places(batch)[0]
    assert pairs_of(again, order) == pairs_of(found[0], torch.arange(5))


def pairs_of(places, order):
    """How often each ground truth is learnt in each group."""
    return Counter(zip(places.group.tolist(), order[places.truths].tolist(), strict=True))


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_class_out_of_range_names_the_config_key(detector, wrong):
    cfg, model = detector
    batch = inputs(cfg, 2)
    batch[0]["instances"].gt_classes[0] = wrong
    message = rf"class {wrong}.*{re.escape(model.num_classes_key)} is 3"
    with pytest.raises(ValueError, match=message):
        model.train()(batch)


def test_unlabelled_classes_give_no_negatives(detector):
    cfg, model = detector
    batch = inputs(cfg, 0, 0)
    model.train()
    before = sum(model(batch).values())
    for sample in batch:
        sample["unlabelled"] = torch.ones(3, dtype=torch.bool)
    assert before > 0
    assert sum(model(batch).values()) == 0


def test_a_step_against_the_gradient_lowers_the_loss(detector):
    cfg, model = detector
    batch = inputs(cfg, 5, 3)
    before = sum(model.train()(batch).values())
    before.backward()
    norm = sum(gradient.square().sum() for gradient in gradients(model).values())
    torch.optim.SGD(model.parameters(), lr=0.02 * before.item() / norm.item()).step()
    # By a fiftieth, were the loss linear.
    assert sum(model(batch).values()) < 0.995 * before


def test_autocast_keeps_losses_and_detections_in_fp32(detector):
    cfg, model = detector
    batch = inputs(cfg, 3, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = model.train()(batch)
        with torch.no_grad():
            found = model.eval()(batch)[0]["instances"]
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
    assert found.scores.dtype == found.pred_boxes.tensor.dtype == torch.float32


def test_detections_are_in_the_size_asked_for_best_first(detector):
    cfg, model = detector
    batch = inputs(cfg, 3)
    height, width = batch[0]["image"].shape[1:]
    with torch.no_grad():
        small = model([{"image": batch[0]["image"]}])[0]["instances"]
        large = model([{**batch[0], "height": 2 * height, "width": 2 * width}])[0]["instances"]
    assert 0 < len(small) <= cfg.TEST.DETECTIONS_PER_IMAGE
    assert (small.scores.diff() <= 0).all() and 0 <= small.scores.min() <= small.scores.max() <= 1
    assert set(small.pred_classes.tolist()) <= {0, 1, 2}
    assert large.image_size == (2 * height, 2 * width)
    torch.testing.assert_close(large.pred_boxes.tensor, 2 * small.pred_boxes.tensor)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_an_image_that_is_not_finite_spoils_no_other(detector, value):
    cfg, model = detector
    batch = inputs(cfg, 3, 3)
    broken = [{"image": torch.full_like(batch[0]["image"].float(), value)}, batch[1]]
    with torch.no_grad():
        expected, (spoilt, found) = model(batch)[1], model(broken)
    spoilt, found, expected = (x["instances"] for x in (spoilt, found, expected))
    assert spoilt.pred_boxes.tensor.isfinite().all() and spoilt.scores.isfinite().all()
    torch.testing.assert_close(found.scores, expected.scores)
    torch.testing.assert_close(found.pred_boxes.tensor, expected.pred_boxes.tensor)


def test_folded_and_packed_it_detects_the_same(detector):
    cfg, model = detector
    batch = inputs(cfg, 3, 3)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    # No box is lost to another or to a threshold, which rounding could decide either way.
    for name, value in (("nms_threshold", 1.0), ("score_threshold", 0.0)):
        if hasattr(model, name):
            setattr(model, name, value)
    prepared = prepare_for_inference(copy.deepcopy(model), cfg.INFERENCE)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in prepared.modules())
    with torch.no_grad():
        for before, after in zip(model(batch), prepared(batch), strict=True):
            assert len(before["instances"]) > 0
            scores = (x["instances"].scores for x in (after, before))
            torch.testing.assert_close(*scores, atol=1e-4, rtol=0)


def test_activation_checkpointing_changes_no_loss_gradient_or_statistic(config):
    models = []
    for enabled in (False, True):
        cfg = read(config, "MODEL.ACTIVATION_CHECKPOINTING", enabled)
        torch.manual_seed(0)
        model, batch = build_model(cfg).train(), inputs(cfg, 3, 2)
        torch.manual_seed(1)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = model(batch)
        sum(losses.values()).backward()
        models.append(({k: loss.item() for k, loss in losses.items()}, model))
    (expected, plain), (losses, model) = models
    assert losses == expected
    for name, gradient in gradients(plain).items():
        tolerance = 1e-5 * gradient.abs().max().item()
        torch.testing.assert_close(
            gradients(model)[name], gradient, rtol=1e-5, atol=tolerance, msg=name
        )
    for name, buffer in plain.named_buffers():
        assert torch.equal(buffer, model.get_buffer(name)), name


def test_the_benchmark_tells_its_parts_apart(config):
    workload = Workload(config, ["INPUT.MIN_SIZE_TEST", "64"], size=SIZE, batch_size=2)
    before = {name: set(vars(module)) for name, module in workload.model.named_modules()}

    def watch(sections):
        watch_model(sections, workload.model)
        watch_training(sections, workload.optimizer, workload.ema)

    forward = split(workload.forward, lambda s: watch_model(s, workload.model), 0)
    training = split(workload.train, watch, 0)
    common = {"normalise and pad", "backbone", "head", "rest"}
    assert set(forward) >= common | {"post-processing"}
    assert set(training) >= common | {"losses", "matching", "backward", "optimizer"}
    found = {*forward, *training}
    for _, _, name in getattr(workload.model, "benchmark_parts", ()):
        pattern = re.sub(r"\\\d", r".+", name)
        assert any(re.fullmatch(pattern, part) for part in found), name
    after = {name: set(vars(module)) for name, module in workload.model.named_modules()}
    assert after == before


def test_the_card_holds_a_config_that_builds_the_model(config, tmp_path):
    cfg = read(config)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"")
    points = {"RBC": {"threshold": 0.1, "precision": 1.0, "recall": 1.0, "f1": 1.0}}
    card = build_card(
        *("model", weights, cfg, {"operating_points": points}, {}),
        command="train_net.py",
        commit="0" * 40,
    )
    card = json.loads(json.dumps(card))
    assert "train_net.py" in to_markdown(card)
    again = get_bccd_cfg()
    again.merge_from_other_cfg(CfgNode(card["config"]))
    shapes = [
        {name: value.shape for name, value in build_on_meta(each).state_dict().items()}
        for each in (cfg, again)
    ]
    assert shapes[0] == shapes[1]


def small_smears():
    sizes = ((64, 96), (96, 64), (75, 101))
    return [draw_smear(seed, *size)[0] for seed, size in enumerate(sizes)]


@pytest.fixture(scope="module")
def eager(built):
    """(detector in eval mode, its config); the test is skipped where it cannot be exported."""
    cfg, model = built
    if not is_exportable(model):
        pytest.skip(f"{type(model).__name__} names no exportable form")
    return model, cfg


def test_the_exportable_form_detects_what_the_model_does(eager):
    form = exportable(eager[0])

    def run(images):
        with torch.no_grad():
            return [x.numpy() for x in form(torch.from_numpy(images))]

    assert find_differences(form, run, small_smears(), tolerance=1e-4) == []
    assert find_differences(form, lambda images: run(images[:, ::-1].copy()), small_smears())


def test_images_of_several_sizes_are_detected_in_as_alone(eager):
    form = exportable(eager[0])
    images = [draw_smear(seed, *size)[0] for seed, size in enumerate(((96, 120), (70, 128)))]
    padded = torch.full((2, 96, 128, 3), 77, dtype=torch.uint8)
    for image, place in zip(images, padded, strict=True):
        place[: image.shape[0], : image.shape[1]] = torch.from_numpy(image)
    sizes = torch.tensor([image.shape[:2] for image in images])
    with torch.no_grad():
        found = form.forward_padded(padded, sizes)
        samples = [{"image": torch.from_numpy(x).permute(2, 0, 1)} for x in images]
        expected = [output["instances"] for output in form.model(samples)]
    for boxes, scores, classes, instances in zip(*found, expected, strict=True):
        valid = scores >= 0
        assert valid.sum() == len(instances) > 0
        torch.testing.assert_close(boxes[valid], instances.pred_boxes.tensor, atol=1e-3, rtol=0)
        torch.testing.assert_close(scores[valid], instances.scores, atol=1e-5, rtol=0)
        assert torch.equal(classes[valid], instances.pred_classes)


@pytest.mark.slow  # half a minute of tracing; tests/export has two files in the fast suite
def test_the_exported_file_detects_what_the_model_does(eager, tmp_path):
    (model, cfg), path = eager, tmp_path / "a.onnx"
    export_detector(model, cfg, None, path, small_smears()[:1])  # which compares them
    runtime, form = load("onnx", path), exportable(model)
    assert find_differences(form, runtime, small_smears()) == []
    boxes, scores, classes = runtime(np.zeros((3, 80, 90, 3), np.uint8))
    rows = (3, form.max_detections)
    assert boxes.shape == (*rows, 4) and scores.shape == classes.shape == rows
    found = scores != NO_DETECTION
    assert (scores[found] >= 0).all() and classes.min() >= 0 and classes.max() < 3


# Images of one size, so that no padding depends on the grouping, and no bfloat16, whose rounding
# does. Batch statistics depend on it, too: Detectron2's are taken over all processes.
TRAINING = {
    "DATASETS.TRAIN": "('smears_val',)",
    "DATASETS.VAL": "()",
    "INPUT.FIXED_SIZE": "(64, 96)",
    "SOLVER.AMP.ENABLED": "False",
    "SOLVER.IMS_PER_BATCH": "4",
    "SOLVER.MAX_ITER": "3",
    "SOLVER.CHECKPOINT_PERIOD": "2",
    "DATALOADER.NUM_WORKERS": "0",
    "MODEL.DEVICE": "cpu",
    "MODEL.WEIGHTS": "",
}


def norms_over_processes(node, prefix="MODEL"):
    """KEY VALUE pairs that replace batch normalisation wherever a key NORM asks for it."""
    pairs = []
    for key, value in node.items():
        if isinstance(value, CfgNode):
            pairs += norms_over_processes(value, f"{prefix}.{key}")
        elif key == "NORM" and value in ("BN", "SyncBN"):
            pairs += [f"{prefix}.{key}", "naiveSyncBN"]
    return pairs


def training_options(config, output):
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(config))
    options = [word for pair in TRAINING.items() for word in pair]
    return [*options, *norms_over_processes(cfg.MODEL), "OUTPUT_DIR", str(output)]


def train(config, output, resume=False):
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(config))
    cfg.merge_from_list(training_options(config, output))
    output.mkdir(exist_ok=True)
    seed_all_rng(None if resume else cfg.SEED)
    trainer = BCCDTrainer(cfg)
    trainer.resume_or_load(resume=resume)
    trainer.train()


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """(config, folder of a training of three iterations)."""
    folder = tmp_path_factory.mktemp("trained")
    train(config, folder)
    return config, folder


def last_losses(folder):
    metrics = json.loads((folder / "metrics.json").read_text().splitlines()[-1])
    return {name: value for name, value in metrics.items() if "loss" in name}


def test_a_resumed_training_is_bit_identical(trained, tmp_path):
    config, whole = trained
    shutil.copy(whole / "model_0000001.pth", tmp_path)
    (tmp_path / "last_checkpoint").write_text("model_0000001.pth")
    train(config, tmp_path, resume=True)
    first, second = (
        torch.load(folder / "model_final.pth", weights_only=True) for folder in (whole, tmp_path)
    )
    for weights in {"model", "raw_model"} & set(first):
        for name, weight in first[weights].items():
            assert torch.equal(weight, second[weights][name]), name


def test_two_processes_give_the_losses_of_one(trained, tmp_path, warm_python):
    config, single = trained
    url = f"file://{tmp_path}/rendezvous"
    flags = ["--config-file", config, "--num-gpus", "2", "--dist-url", url]
    options = training_options(config, tmp_path / "two")
    done = subprocess.run(
        [warm_python.executable, "train_net.py", *map(str, flags), *options],
        cwd=ROOT,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    losses = last_losses(single)
    assert len(losses) >= 3
    assert last_losses(tmp_path / "two") == pytest.approx(losses, rel=1e-4)
