"""Trains the quick schedules; each compares its result with its TEST.EXPECTED_RESULTS."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SCHEDULES = sorted((ROOT / "configs/quick_schedules").glob("*_smears_quick.yaml"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("config", SCHEDULES, ids=lambda file: file.stem)
def test_a_quick_schedule_reaches_its_expected_results(config, tmp_path):
    common = [sys.executable, "train_net.py", "--config-file", str(config)]
    subprocess.run([*common, "OUTPUT_DIR", str(tmp_path)], cwd=ROOT, check=True)
    assert (tmp_path / "model_best.pth").is_file()


def test_every_detector_has_a_quick_schedule_with_expected_results():
    assert {file.stem.split("_lite")[0] for file in SCHEDULES} == {"sparse_rcnn", "ssd"}
    for file in SCHEDULES:
        expected = yaml.safe_load(file.read_text())["TEST"]["EXPECTED_RESULTS"]
        assert all(target > tolerance > 0 for _, _, target, tolerance in expected)
