import json
import runpy
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from bccd.benchmark.trade_off import combine
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.synthetic import load_smears
from bccd.modeling.fast_inference import prepare as inference
from bccd.visualization.trade_off import pareto_front

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs/SparseRCNN/sparse_rcnn_lite_bccd.yaml")
tool = runpy.run_path(str(ROOT / "tools" / "trade_off.py"))
STAGES, PROPOSALS = "MODEL.SparseRCNN.STAGES_TEST", "MODEL.SparseRCNN.NUM_PROPOSALS"


@pytest.fixture
def arguments(cfg, tmp_path):
    cfg.merge_from_file(CONFIG)
    cfg.MODEL.DEVICE = "cpu"
    torch.save({"model": build_model(cfg).state_dict()}, tmp_path / "model.pth")
    name = "two_tiny_smears_for_trade_off"
    if name not in DatasetCatalog:
        DatasetCatalog.register(name, lambda: load_smears(2, 9, 48, 64))
        MetadataCatalog.get(name).set(thing_classes=list(CLASS_NAMES))
    small = ["MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"]
    return [
        *("--config-file", CONFIG, "--dataset", name, "--rounds", "2"),
        *("--axis", STAGES, "3", "1", "--output", str(tmp_path / "out")),
        *("--opts", *small, "MODEL.WEIGHTS", str(tmp_path / "model.pth")),
    ]


def test_every_combination_has_its_accuracy_and_its_times(arguments, tmp_path, capsys):
    assert tool["main"]([*arguments, "--axis", PROPOSALS, "5", "10"]) == 0
    variants = json.loads((tmp_path / "out" / "trade_off.json").read_text())["variants"]
    combinations = [(v["options"][STAGES], v["options"][PROPOSALS]) for v in variants]
    assert combinations == [("3", "5"), ("3", "10"), ("1", "5"), ("1", "10")]
    assert all(v["ms"]["runs"] == 4 and v["ms"]["median"] > 0 for v in variants)
    assert variants[0]["ratio"]["quartiles"] == [1, 1]
    assert (tmp_path / "out" / "trade_off.png").is_file()
    assert "| AP" in capsys.readouterr().out


def test_an_unknown_key_is_one_clear_error(arguments, capsys):
    assert tool["main"]([*arguments, "--axis", "MODEL.NO_SUCH_KEY", "1"]) == 2
    assert "NO_SUCH_KEY" in capsys.readouterr().err


def test_a_type_that_would_be_replaced_is_not_measured(arguments, capsys, monkeypatch):
    monkeypatch.setattr(inference, "has_fast_bfloat16", lambda: False)
    assert tool["main"]([*arguments, "--axis", "INFERENCE.DTYPE", "float32", "bfloat16"]) == 2
    assert "bfloat16 cannot be measured here: torch.float32" in capsys.readouterr().err


def test_combinations_vary_the_last_axis_fastest():
    assert combine({"a": ["1", "2"], "b": ["x", "y"]}) == [
        {"a": "1", "b": "x"},
        {"a": "1", "b": "y"},
        {"a": "2", "b": "x"},
        {"a": "2", "b": "y"},
    ]


def test_the_front_has_no_variant_that_another_beats_in_both():
    def variant(ms, ap):
        return {"ms": {"median": ms}, "AP": ap}

    slow, worse, fast = variant(30, 60), variant(40, 59), variant(10, 50)
    assert pareto_front([slow, worse, fast]) == [fast, slow]
