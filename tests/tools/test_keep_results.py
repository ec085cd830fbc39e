"""What tools/keep_results.py copies, and that it refuses half an evaluation."""

import gzip
import json
import runpy
from pathlib import Path

import pytest

from bccd.experiments.kept_results import DETECTIONS, EVALUATION

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools/keep_results.py"))


@pytest.fixture
def output_dir(tmp_path):
    inference = tmp_path / "output" / "inference"
    inference.mkdir(parents=True)
    for name in (*EVALUATION, DETECTIONS):
        (inference / name).write_text(f'["{name}"]')
    found = {"image_id": 1, "category_id": 2, "bbox": [0.12345, 1, 20, 30], "score": 1 / 3}
    (inference / DETECTIONS).write_text(json.dumps([found]))
    (tmp_path / "output" / "config.yaml").write_text("VERSION: 2\n")
    return tmp_path / "output"


def arguments(output_dir, results, *more):
    return [
        "--from",
        str(output_dir),
        "--row",
        "a",
        "--name",
        "A",
        "--results",
        str(results),
        *more,
    ]


def test_a_row_holds_the_evaluation_the_detections_and_its_name(output_dir, tmp_path, capsys):
    results = tmp_path / "results"
    assert TOOL["main"](arguments(output_dir, results, "--note", "8 views")) == 0
    assert json.loads((results / "a/row.json").read_text()) == {"name": "A", "note": "8 views"}
    assert (results / "a/evaluation.json").read_text() == '["evaluation.json"]'
    assert (results / "a/config.yaml").exists() and not (results / "a/metrics.json").exists()
    packed = results / "a" / "coco_instances_results.json.gz"
    first = packed.read_bytes()
    (kept,) = json.loads(gzip.decompress(first))
    # To a thousandth of a pixel.
    assert kept == {"image_id": 1, "category_id": 2, "bbox": [0.123, 1, 20, 30], "score": 0.333333}
    assert TOOL["main"](arguments(output_dir, results)) == 0
    assert packed.read_bytes() == first
    assert json.loads((results / "a/row.json").read_text()) == {"name": "A"}


def test_half_an_evaluation_is_refused(output_dir, tmp_path, capsys):
    (output_dir / "inference" / "timing.json").unlink()
    assert TOOL["main"](arguments(output_dir, tmp_path / "results")) == 2
    assert "timing.json" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
