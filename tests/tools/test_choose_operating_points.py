import runpy
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.synthetic import load_smears

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs/SSD/ssd_lite_bccd.yaml")
tool = runpy.run_path(str(ROOT / "tools" / "choose_operating_points.py"))
SMALL = ["MODEL.DEVICE", "cpu", "DATALOADER.NUM_WORKERS", "0"]


@pytest.fixture
def weights(cfg, tmp_path):
    cfg.merge_from_file(CONFIG)
    cfg.MODEL.DEVICE = "cpu"
    file = tmp_path / "model.pth"
    torch.save({"model": build_model(cfg).state_dict(), "iteration": 7}, file)
    return file


@pytest.fixture
def dataset():
    name = "two_tiny_smears"
    if name not in DatasetCatalog:
        DatasetCatalog.register(name, lambda: load_smears(2, 9, 48, 64))
        MetadataCatalog.get(name).set(thing_classes=list(CLASS_NAMES))
    return name


def test_the_copy_counts_at_the_chosen_points_and_keeps_the_rest(weights, dataset, tmp_path):
    out = tmp_path / "new" / "counting.pth"
    arguments = ["--config-file", CONFIG, "--dataset", dataset, "--output", str(out)]
    assert tool["main"]([*arguments, "MODEL.WEIGHTS", str(weights), *SMALL]) == 0
    before, after = (torch.load(file, weights_only=True) for file in (weights, out))
    assert set(after.pop("operating_points")) == set(CLASS_NAMES)
    assert after["iteration"] == 7
    for name, tensor in before["model"].items():
        assert torch.equal(tensor, after["model"][name])


def test_a_missing_checkpoint_is_one_clear_error(dataset, tmp_path, capsys):
    out = tmp_path / "counting.pth"
    arguments = ["--config-file", CONFIG, "--dataset", dataset, "--output", str(out)]
    assert tool["main"]([*arguments, "MODEL.WEIGHTS", str(tmp_path / "no.pth")]) == 2
    assert "no.pth" in capsys.readouterr().err and not out.exists()
