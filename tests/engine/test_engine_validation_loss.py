"""Best checkpoint, early stop, operating points, and what is read while training."""

import json
import math

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.utils.env import seed_all_rng
from tiny_training import TinyDetector, register_tiny_datasets, tiny_cfg

from bccd.counting.predictor import Predictor
from bccd.data.loading.loader import build_test_loader
from bccd.engine.evaluate import evaluate
from bccd.engine.trained_detector import load_for_inference
from bccd.engine.trainer import BCCDTrainer

POINTS = {"RBC": {"threshold": 0.5, "precision": None, "recall": None, "f1": None}}


class ScriptedTrainer(BCCDTrainer):
    """Validation whose APs are given in advance."""

    def validate(self):
        self.last_results = {"bbox": {"AP": next(self.values)}}
        return self.last_results, {"RBC": {**POINTS["RBC"], "threshold": self.iter / 10}}


def train(cfg, values=None, *, resume=False):
    seed_all_rng(7)
    trainer = ScriptedTrainer(cfg) if values else BCCDTrainer(cfg)
    trainer.values = iter(values or ())
    trainer.resume_or_load(resume=resume)
    trainer.train()
    return trainer


def saved(folder, name):
    return torch.load(folder / name, weights_only=True)


@pytest.fixture
def out(tmp_path):
    register_tiny_datasets(tmp_path)
    return tmp_path / "out"


def test_best_checkpoint_is_the_one_with_the_largest_finite_metric(out):
    values = [math.nan, 10.0, 30.0, 30.0, math.inf, 20.0]
    train(tiny_cfg(out, "TEST.EVAL_PERIOD", 1), values)
    best = saved(out, "model_best.pth")
    assert best["iteration"] == 2
    assert best["operating_points"]["RBC"]["threshold"] == 0.2
    final = saved(out, "model_final.pth")
    assert final["iteration"] == 5
    assert final["validation"]["best"] == 30.0
    assert final["validation"]["without_best"] == 3
    # --resume goes on from the last weights, not the best ones
    assert (out / "last_checkpoint").read_text() == "model_final.pth"
    points = json.loads((out / "operating_points.json").read_text())
    assert points["model_best"] == best["operating_points"]
    assert points["model_final"] == final["operating_points"]


def test_no_finite_metric_gives_no_best_checkpoint(out):
    train(tiny_cfg(out, "TEST.EVAL_PERIOD", 2), [math.nan] * 3)
    assert not (out / "model_best.pth").exists()
    assert (out / "model_final.pth").exists()


STOP = ("VALIDATION.EARLY_STOP.ENABLED", True, "VALIDATION.EARLY_STOP.PATIENCE", 2)


def test_early_stop_and_its_resume(out):
    cfg = tiny_cfg(out, "TEST.EVAL_PERIOD", 1, *STOP)
    cfg.SOLVER.MAX_ITER = 50
    values = [1.0, 3.0, 2.0, 3.0, 99.0]
    trainer = train(cfg, values)
    assert trainer.iter == 3
    assert next(trainer.values) == 99.0
    final = saved(out, "model_final.pth")
    assert final["iteration"] == 3
    assert final["operating_points"]["RBC"]["threshold"] == 0.3
    assert saved(out, "model_best.pth")["iteration"] == 1

    resumed = train(cfg, [99.0], resume=True)  # stays stopped
    assert next(resumed.values) == 99.0
    assert saved(out, "model_final.pth")["iteration"] == 3


def test_training_validates_on_val_only_and_writes_what_it_measured(out):
    DatasetCatalog.remove("tiny_test")
    DatasetCatalog.register("tiny_test", lambda: pytest.fail("DATASETS.TEST read in training"))
    trainer = train(tiny_cfg(out, "SOLVER.EMA.ENABLED", True))
    lines = [json.loads(line) for line in (out / "metrics.json").read_text().splitlines()]
    measured = {key for line in lines for key in line}
    assert {"total_loss", "loss_ce", "lr", "bbox/AP", "val_total_loss", "val_loss_ce"} <= measured
    assert list(out.glob("events.*"))
    assert trainer.last_results["val_total_loss"] > 0
    points = saved(out, "model_final.pth")["operating_points"]
    assert set(points) == {"RBC", "WBC", "Platelets"}


def test_failure_in_the_last_step_is_not_evaluated(out):
    cfg = tiny_cfg(out, "TEST.EVAL_PERIOD", 0)

    class Failing(ScriptedTrainer):
        def run_step(self):
            if self.iter == 5:
                raise FloatingPointError("loss is not finite")
            super().run_step()

    trainer = Failing(cfg)
    trainer.values = iter([1.0])
    with pytest.raises(FloatingPointError, match="not finite"):
        trainer.train()
    assert next(trainer.values) == 1.0
    assert not (out / "model_final.pth").exists()


def test_other_classes_are_refused_before_the_first_iteration(out, monkeypatch):
    monkeypatch.delattr(TinyDetector, "num_classes_key")
    cfg = tiny_cfg(out, "MODEL.RETINANET.NUM_CLASSES", 80)
    with pytest.raises(ValueError, match="predicts 80 classes; expected 3, RBC, WBC, Platelets"):
        BCCDTrainer(cfg)
    torch.save({"model": build_model(cfg).state_dict()}, out / "any.pth")
    cfg.MODEL.WEIGHTS = str(out / "any.pth")
    with pytest.raises(ValueError, match="predicts 80 classes, which neither its checkpoint nor"):
        load_for_inference(cfg)  # of demo.py, --eval-only, exports
    MetadataCatalog.pop("tiny_val")
    MetadataCatalog.get("tiny_val").thing_classes = ["RBC", "WBC"]
    with pytest.raises(ValueError, match=r"tiny_val has the classes RBC, WBC; .*lacks Platelets"):
        BCCDTrainer(tiny_cfg(out))
    cfg = tiny_cfg(out, "DATASETS.VAL", (), "DATASETS.TRAIN", ("tiny_train", "tiny_val"))
    with pytest.raises(ValueError, match="tiny_val has the classes RBC, WBC"):
        BCCDTrainer(cfg).train()


def test_expected_results_are_of_one_data_set_in_training_and_evaluation(out, caplog):
    """Compared where it is evaluated, and nowhere else; the log says which and of what weights."""
    cfg = tiny_cfg(out, "TEST.EVAL_PERIOD", 0)
    train(cfg, [60.0])
    cfg.MODEL.WEIGHTS = str(out / "model_final.pth")
    cfg.TEST.OPERATING_POINTS = (0.5, 0.5, 0.5)
    cfg.TEST.EXPECTED_RESULTS = [["bbox", "AP", 60.0, 1.0]]
    cfg.TEST.EXPECTED_RESULTS_DATASET = "tiny_val"
    with caplog.at_level("INFO"):
        train(cfg, [60.0])
    assert f"results of {out}/model_final.pth on tiny_val with TEST.EXPECTED_RESULTS" in caplog.text
    with pytest.raises(SystemExit):
        train(cfg, [50.0])

    caplog.clear()
    cfg.TEST.EXPECTED_RESULTS = [["bbox", "AP", 777.0, 1.0]]
    evaluate(cfg)  # of tiny_test
    assert "EXPECTED_RESULTS are of tiny_val; tiny_test was evaluated" in caplog.text
    cfg.DATASETS.TEST = ("tiny_val",)
    with pytest.raises(SystemExit):
        evaluate(cfg)
    cfg.TEST.EXPECTED_RESULTS_DATASET, cfg.DATASETS.TEST = "", ("tiny_test",)
    train(cfg, [50.0])  # as with Detectron2, they are then of DATASETS.TEST
    with caplog.at_level("INFO"), pytest.raises(SystemExit):
        evaluate(cfg)
    assert f"results of {out}/model_final.pth on tiny_test" in caplog.text


def test_checkpoint_without_its_weights_is_not_evaluated(out):
    cfg = tiny_cfg(out)
    with pytest.raises(ValueError, match=r"MODEL\.WEIGHTS is empty"):
        load_for_inference(cfg)
    torch.save({"model": {}}, out / "empty.pth")
    cfg.MODEL.WEIGHTS = str(out / "empty.pth")
    with pytest.raises(ValueError, match=r"lacks weights.*cls_score\.bias"):
        load_for_inference(cfg)


@pytest.mark.parametrize("image_format", ["BGR", "RGB"])
def test_predictor_sees_what_the_test_loader_gives(out, image_format):
    cfg = tiny_cfg(out, "INPUT.FORMAT", image_format, "INPUT.MIN_SIZE_TEST", 48)
    train(cfg)
    cfg.MODEL.WEIGHTS, cfg.MODEL.DEVICE = str(out / "model_final.pth"), "cuda"
    predictor = Predictor(cfg)
    assert predictor.metadata.thing_classes == ["RBC", "WBC", "Platelets"]
    assert set(predictor.operating_points) == {"RBC", "WBC", "Platelets"}
    bgr = Predictor(tiny_cfg(out, "MODEL.WEIGHTS", cfg.MODEL.WEIGHTS)).model  # same weights
    inputs = next(iter(build_test_loader(cfg, "tiny_test")))
    with torch.no_grad():
        expected = bgr(inputs)[0]["instances"]
    original = next(iter(build_test_loader(tiny_cfg(out), "tiny_test")))[0]["image"]
    actual = predictor(original.permute(1, 2, 0).numpy())
    assert np.array_equal(actual.boxes, expected.pred_boxes.tensor)
    assert np.array_equal(actual.scores, expected.scores)
    with pytest.raises(ValueError, match="expected a uint8 image"):
        predictor(original.permute(1, 2, 0).numpy()[..., 0])


def test_operating_points_for_other_classes_are_refused(out):
    train(tiny_cfg(out, "TEST.EVAL_PERIOD", 0), [1.0])  # which has a point for RBC alone
    cfg = tiny_cfg(out, "MODEL.WEIGHTS", str(out / "model_final.pth"))
    with pytest.raises(ValueError, match="points for RBC; expected RBC, WBC, Platelets"):
        load_for_inference(cfg)
    cfg.TEST.OPERATING_POINTS = (0.1, 0.2)
    with pytest.raises(ValueError, match=r"TEST\.OPERATING_POINTS is "):  # as of demo.py's --opts
        load_for_inference(cfg)


def test_configured_operating_points_win_over_stored_ones(out):
    cfg = tiny_cfg(out, "TEST.OPERATING_POINTS", (0.1, 0.2, 0.3))
    train(cfg)
    cfg.MODEL.WEIGHTS = str(out / "model_final.pth")
    assert load_for_inference(cfg)[1] == {"RBC": 0.1, "WBC": 0.2, "Platelets": 0.3}
