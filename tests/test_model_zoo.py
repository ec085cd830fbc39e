import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.engine import default_argument_parser
from detectron2.utils.file_io import PathManager
from torch import nn

import train_net
from bccd import model_zoo
from bccd.engine.checkpoint import BCCDCheckpointer
from bccd.engine.shipped_models import load_config
from bccd.engine.weights_file import encode_weights

ROOT = Path(__file__).parents[1]
SHIPPED = sorted(card.stem for card in (ROOT / "models").glob("*.json"))


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A folder models/ with ``tiny``, an nn.Linear(2, 2) of ones."""
    monkeypatch.setattr(model_zoo, "MODELS", tmp_path)
    weights = {"weight": torch.ones(2, 2).half(), "bias": torch.ones(2)}
    points = {"RBC": {"threshold": 0.3}}
    (tmp_path / "tiny.safetensors").write_bytes(encode_weights(weights, points))
    digest = model_zoo.sha256(tmp_path / "tiny.safetensors")
    card = {
        "file": "tiny.safetensors",
        "sha256": digest,
        "config": {"TEST": {"DETECTIONS_PER_IMAGE": 77}},
    }
    (tmp_path / "tiny.json").write_text(json.dumps(card))
    return tmp_path


def test_a_shipped_name_loads_weights_and_operating_points(zoo):
    model = nn.Linear(2, 2)
    rest = BCCDCheckpointer(model, require_all=True).load("bccd://tiny")
    assert torch.equal(model.weight, torch.ones(2, 2)) and model.weight.dtype == torch.float32
    assert rest["operating_points"] == {"RBC": {"threshold": 0.3}}
    assert PathManager.isfile("bccd://tiny") and not PathManager.exists("bccd://other")
    with PathManager.open("bccd://tiny", "rb") as file:
        assert file.read() == (zoo / "tiny.safetensors").read_bytes()
    with pytest.raises(ValueError, match="can only be read"):
        PathManager.open("bccd://tiny", "wb")


def test_an_unknown_name_lists_the_known_ones(zoo):
    with pytest.raises(
        FileNotFoundError, match=r"called tinny; there are: tiny\. Did you mean tiny"
    ):
        BCCDCheckpointer(nn.Linear(2, 2)).load("bccd://tinny")
    with pytest.raises(FileNotFoundError, match=r"MODEL\.WEIGHTS"):
        BCCDCheckpointer(nn.Linear(2, 2)).load("bccd://../tiny")


def test_a_changed_byte_is_found(zoo):
    path = zoo / "tiny.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"tiny\.safetensors is damaged.*SHA-256.*git checkout"):
        BCCDCheckpointer(nn.Linear(2, 2)).load("bccd://tiny")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"tiny\.safetensors is missing.*git checkout"):
        BCCDCheckpointer(nn.Linear(2, 2)).load("bccd://tiny")


def test_the_config_is_the_cards(zoo):
    assert load_config("tiny").TEST.DETECTIONS_PER_IMAGE == 77


def test_what_ships_is_small_and_complete():
    for suffix in (".safetensors", ".onnx", ".md"):
        files = (ROOT / "models").glob(f"*{suffix}")
        assert sorted(file.stem for file in files if file.name != "README.md") == SHIPPED
    sizes = [file.stat().st_size for file in (ROOT / "models").iterdir()]
    assert max(sizes) <= 25e6 and sum(sizes) <= 60e6


@pytest.mark.parametrize(
    "name", SHIPPED or [pytest.param("", marks=pytest.mark.skip("models/ holds no model yet"))]
)
def test_eval_only_repeats_the_card_on_validation_images(name, bccd_root, tmp_path):
    card = model_zoo.load_card(name)
    dataset = card["training"]["data"]["val"][0]
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps(card["config"]))  # JSON is YAML
    flags = ["--config-file", str(config), "--eval-only", "MODEL.WEIGHTS", f"bccd://{name}"]
    options = ["DATASETS.TEST", f"('{dataset}',)", "OUTPUT_DIR", str(tmp_path / "out")]
    train_net.main(default_argument_parser().parse_args([*flags, *options]))
    found = json.loads((tmp_path / "out/inference/evaluation.json").read_text())
    expected = card["metrics"][dataset]
    for task in ("bbox", "count"):
        assert found[task] == pytest.approx(expected[task], abs=0.1)


def test_an_installed_package_has_its_models_and_its_font(tmp_path):
    build = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    code = "from bccd import model_zoo; print(model_zoo.MODELS); print(model_zoo.list_models())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == [str(tmp_path / "bccd/models"), str(SHIPPED)]
    assert (tmp_path / "bccd/models/README.md").is_file()
    assert all((tmp_path / f"bccd/models/{name}.onnx").is_file() for name in SHIPPED)
    assert (tmp_path / "bccd/visualization/fonts/DejaVuSans.ttf").is_file()
