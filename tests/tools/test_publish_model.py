import importlib
import json
import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.modeling import build_model

import demo
from bccd import model_zoo
from bccd.engine.evaluate import evaluate
from bccd.engine.shipped_models import load_config

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "engine"))
tiny_training = importlib.import_module("tiny_training")
tool = runpy.run_path(str(ROOT / "tools" / "publish_model.py"))
POINT = {"precision": 0.5, "recall": None, "f1": 0.5}
POINTS = {
    name: {"threshold": t, **POINT} for name, t in (("RBC", 0.1), ("WBC", 0.2), ("Platelets", 0.3))
}


@pytest.fixture
def training(tmp_path, monkeypatch):
    """What a training leaves: config.yaml and model_best.pth; models/ is an empty folder."""
    monkeypatch.setattr(model_zoo, "MODELS", tmp_path / "models")
    (tmp_path / "images").mkdir()
    tiny_training.register_tiny_datasets(tmp_path / "images")
    expected = ["TEST.EXPECTED_RESULTS", [["bbox", "AP", 99.0, 0.1]]]
    cfg = tiny_training.tiny_cfg(
        tmp_path / "run", "TEST.BOOTSTRAP.ENABLED", True, "TEST.BOOTSTRAP.SAMPLES", 20, *expected
    )
    (tmp_path / "run/config.yaml").write_text(cfg.dump())
    torch.manual_seed(0)
    model = build_model(cfg)
    for parameter in model.cls_score.parameters():
        torch.nn.init.zeros_(parameter)  # every image has one RBC, of score 1/3
    checkpoint = {"model": model.state_dict(), "operating_points": POINTS}
    checkpoint |= {"iteration": 5, "rng": {"seed": 7}}
    torch.save(checkpoint, tmp_path / "run/model_best.pth")
    return tmp_path


def publish(folder, *options, name="tiny", commit="HEAD"):
    return tool["main"](
        [
            *("--name", name, "--config-file", str(folder / "run/config.yaml")),
            *("--weights", str(folder / "run/model_best.pth"), "--commit", commit),
            *("--command", "python train_net.py A 1", "--output", str(folder / "published")),
            *options,
        ]
    )


def test_the_card_describes_the_file_and_eval_only_repeats_it(training):
    assert publish(training) == 0
    models = training / "models"
    assert sorted(f.name for f in models.iterdir()) == ["tiny.json", "tiny.md", "tiny.safetensors"]
    card = model_zoo.load_card("tiny")
    assert card["sha256"] == model_zoo.sha256(models / "tiny.safetensors")
    assert card["bytes"] == (models / "tiny.safetensors").stat().st_size
    facts = card["training"]
    assert (facts["seed"], facts["iterations"], facts["initial_weights"]) == (7, 6, None)
    assert facts["command"] == "python train_net.py A 1" and len(facts["commit"]) == 40
    assert facts["data"] == {"train": ["tiny_train"], "val": ["tiny_val"], "test": ["tiny_test"]}
    assert card["operating_points"] == POINTS
    assert str(training) not in json.dumps(card["config"])

    assert set(card["metrics"]) == {"tiny_val", "tiny_test"}
    for dataset, metrics in card["metrics"].items():
        cfg = load_config("tiny")
        cfg.DATASETS.TEST, cfg.OUTPUT_DIR = (dataset,), str(training / "again" / dataset)
        evaluate(cfg)
        again = training / "again" / dataset / "inference/evaluation.json"
        assert json.loads(again.read_text()) == metrics
        assert metrics["operating_points_source"] == "given"
        assert "AP" in metrics["intervals"]["bbox"]


def test_the_page_shows_what_the_card_says(training):
    publish(training)
    page, card = (training / "models/tiny.md").read_text(), model_zoo.load_card("tiny")
    value = card["metrics"]["tiny_test"]["count"]["MAE"]
    for text in (card["sha256"], "demo.py --model tiny", f"{value:.2f}"):
        assert text in page
    assert "Not a diagnostic device" in page and "trained from scratch" in page
    assert "| Platelets | 0.300" in " ".join(page.split()) and "None" not in page


def test_demo_counts_with_the_shipped_model_by_default(training, monkeypatch, capsys):
    image = training / "image.png"
    cv2.imwrite(str(image), np.full((32, 32, 3), 200, np.uint8))
    flags = ["--input", str(image), "--output", str(training / "out")]
    with pytest.raises(SystemExit) as stop:
        demo.main([*flags, "--model", "tiny"])
    assert stop.value.code == 2 and "no shipped model is called tiny" in capsys.readouterr().err

    publish(training, name=model_zoo.DEFAULT_MODEL)
    assert demo.main(flags) == 0
    (detection,) = json.loads((training / "out/detections.json").read_text())["annotations"]
    assert detection["score"] == pytest.approx(1 / 3)  # above its operating point of 0.1
    assert demo.main([*flags, "--confidence-threshold", "0.9"]) == 0
    assert json.loads((training / "out/detections.json").read_text())["annotations"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"commit": "nowhere"}, "nowhere is no commit"),
        ({"points": None}, "no operating points"),
        ({"limit": 100}, "at most"),
    ],
)
def test_what_cannot_be_published_leaves_nothing(training, monkeypatch, capsys, change, message):
    if "points" in change:
        weights = torch.load(training / "run/model_best.pth", weights_only=True)["model"]
        torch.save({"model": weights}, training / "run/model_best.pth")
    monkeypatch.setattr(model_zoo, "MAX_FILE_BYTES", change.get("limit", 10**6))
    assert publish(training, commit=change.get("commit", "HEAD")) == 2
    assert message in capsys.readouterr().err
    assert not (training / "models").exists()
