"""Systems side by side: what is read, measured and shown."""

import json
import runpy
from dataclasses import replace

import kept_systems
import numpy as np
import pytest
import yaml
from kept_systems import TEST, keep_folds, keep_row

from bccd.evaluation.coco import evaluate_boxes
from bccd.experiments import system_tables
from bccd.experiments.checkout import ROOT
from bccd.experiments.system_comparison import (
    FUSED,
    compare_errors,
    compare_losses,
    compare_systems,
)
from bccd.experiments.system_fusion import fuse_detections
from bccd.experiments.systems import CROSS_VALIDATION, read_kept, read_systems
from bccd.markdown import replace_table

tool = runpy.run_path(str(ROOT / "tools/compare_systems.py"))
GOOD, POOR = "ssd_lite", "yolov8_lite"


@pytest.fixture
def results(tmp_path):
    """Two rows and their cross-validations; POOR places boxes 12 pixels beside the cell."""
    kept_systems.register()
    for name, title, offset in ((GOOD, "SSD lite", 1), (POOR, "YOLOv8 lite", 12)):
        keep_row(tmp_path, name, title, offset)
        keep_folds(tmp_path, name, title, offset)
    keep_row(tmp_path, f"{POOR}_paper_losses", "YOLOv8 lite", 4)
    return tmp_path


@pytest.fixture
def kept(results):
    return read_kept(results, [GOOD, POOR, "ssd512"])


def test_the_systems_of_the_project_are_rows_with_a_quoted_one():
    quoted = {row["name"] for row in json.loads((ROOT / "results/references.json").read_text())}
    systems = read_systems()
    assert len(systems) == 6 and {s.quoted for s in systems.values()} <= quoted


def test_a_system_without_a_row_is_named(tmp_path):
    file = tmp_path / "systems.yaml"
    file.write_text(yaml.safe_dump({"ssd_light": "SSD, the paper"}))
    with pytest.raises(ValueError, match=r"systems\.yaml: there is no row 'ssd_light'"):
        read_systems(file)


def test_what_is_not_kept_is_left_out(kept):
    assert {dataset: list(rows) for dataset, rows in kept.items()} == {
        TEST: [GOOD, POOR],
        CROSS_VALIDATION: [GOOD, POOR],
    }
    assert kept[TEST][GOOD].minutes == 1 and kept[CROSS_VALIDATION][GOOD].minutes == 5


def test_folds_are_one_set_with_the_thresholds_of_each(kept):
    pooled = kept[CROSS_VALIDATION][GOOD]
    assert pooled.counts.image_ids == [10, 11, 20, 21, 30, 31, 40, 41, 50, 51]
    # The false platelet of each image has a score of 0.1, which counts in the first fold alone.
    assert (pooled.counts.predicted - pooled.counts.true)[:, 2].tolist() == [1, 1, *[0] * 8]
    assert len({a["id"] for a in pooled.truth["annotations"]}) == 60


def test_too_few_folds_are_refused(tmp_path):
    kept_systems.register()
    keep_folds(tmp_path, GOOD, "SSD lite", 1, kept_systems.FOLDS[:4])
    with pytest.raises(ValueError, match="4 folds; expected 5"):
        read_kept(tmp_path, [GOOD])


def test_systems_are_compared_on_the_same_images(kept):
    compared = compare_systems(kept[TEST], samples=50)
    good, poor = (compared["systems"][name] for name in (GOOD, POOR))
    expected = evaluate_boxes(kept[TEST][POOR].truth, kept[TEST][POOR].detections).metrics["AP"]
    assert poor["bbox"]["AP"] == pytest.approx(100 * expected)
    low, high = poor["intervals"]["bbox"]["AP"]
    assert low < poor["bbox"]["AP"] < high and good["count"]["MAE"] == 0
    difference = compared["differences"]["AP"][GOOD][POOR]
    assert difference["difference"] == pytest.approx(good["bbox"]["AP"] - poor["bbox"]["AP"])
    assert difference["interval"][0] > 0


def test_other_images_are_not_compared(kept):
    rows = {GOOD: kept[TEST][GOOD], POOR: kept[CROSS_VALIDATION][POOR]}
    with pytest.raises(ValueError, match=f"{GOOD} and {POOR} were evaluated on different images"):
        compare_systems(rows, samples=5)


def test_errors_are_those_of_each_system(kept):
    errors = compare_errors(kept[TEST])
    gains = {name: e["by_iou"]["0.75"]["gain"]["localisation"]["all"] for name, e in errors.items()}
    assert gains[POOR] > 5 and gains[GOOD] == pytest.approx(0)


def test_a_system_that_finds_nothing_is_shown(kept):
    nothing = {**kept[TEST], POOR: replace(kept[TEST][POOR], detections=[])}
    compared = compare_systems(nothing, samples=10)
    assert cells(system_tables.differences_table(compared))[2][2].startswith("**+")
    assert cells(system_tables.errors_table(compare_errors(nothing)))[3][1:3] == ["0.0", "+0.0"]


def test_agreement_of_systems_decides_the_score():
    box = {"image_id": 3, "category_id": 2, "bbox": [10.0, 10.0, 20.0, 20.0], "score": 0.8}
    moved = {**box, "bbox": [14.0, 10.0, 20.0, 20.0], "score": 0.4}
    alone = {**box, "category_id": 1, "score": 0.9}
    fused = fuse_detections([[box, alone], [moved], []])
    assert [(d["image_id"], d["category_id"]) for d in fused] == [(3, 2), (3, 1)]
    np.testing.assert_allclose([d["score"] for d in fused], [0.4, 0.3], rtol=1e-6)
    # (0.8 * 10 + 0.4 * 14) / 1.2
    np.testing.assert_allclose(fused[0]["bbox"], [11 + 1 / 3, 10, 20, 20], rtol=1e-6)
    assert fuse_detections([[], []]) == []


def test_losses_are_compared_where_both_are_kept(results, kept):
    others = read_kept(results, [f"{POOR}_paper_losses"])[TEST]
    losses = compare_losses(kept[TEST], {POOR: others[f"{POOR}_paper_losses"]}, samples=20)
    assert list(losses) == [POOR] and FUSED not in losses[POOR]["systems"]
    assert losses[POOR]["differences"]["AP"]["other"]["own"]["difference"] > 0


def cells(table):
    lines = [line for line in table.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


COST = {
    "machine": {"device": "abacus", "torch": "2.4", "threads": 2, "load_before": 0.0},
    "dataset": "bccd_paper_val",
    "command": "python tools/time_systems.py",
    "date": "2026-11-26",
    "systems": {
        GOOD: {
            "parameters": 3_279_277,
            "gflop": 3.5,
            "AP": {"eager": 61.7, "onnx": 61.7, "int8": 61.9},
            "milliseconds": {
                form: {"median": ms, "quartiles": [ms, ms], "runs": 1}
                for form, ms in (("eager", 20.0), ("onnx", 10.0), ("int8", 5.0))
            },
        }
    },
}


def test_the_command_measures_and_shows(results, monkeypatch, capsys):
    monkeypatch.setattr(system_tables, "PAPER_TEST", TEST)
    (results / "systems").mkdir()
    (results / "systems/cost.json").write_text(json.dumps(COST))
    assert tool["main"](["--results", str(results), "--samples", "20"]) == 0
    assert (results / "systems/ap_over_time.png").is_file()
    accuracy = json.loads((results / "systems/accuracy.json").read_text())
    tables = tool["build_tables"](accuracy, COST)
    shown = capsys.readouterr().out
    assert all(table in shown for _, table in tables.values())
    header, _, first, second, fused = cells(tables["systems"][1])
    assert first[:2] == ["SSD lite", "0.326"] and second[:2] == ["YOLOv8 lite", "0.629"]
    assert fused[0] == "all 2, fused" and fused[-1] == ""
    assert first[7:] == ["20.0", "10.0", "5.0", "3.28", "3.50", "1 (CPU)"]
    assert second[7:] == ["", "", "", "", "", "1 (GPU)"] and len(header) == len(first)
    assert "abacus, PyTorch 2.4 on 2 threads" in tables["systems"][1]
    counted = {"systems": {GOOD: {"parameters": 10**6, "gflop": 2.0}}}
    header, _, first, *_ = cells(tool["build_tables"](accuracy, counted)["systems"][1])
    assert header[7:9] == ["million parameters", "GFLOP"] and first[7:9] == ["1.00", "2.00"]
    # Without times, no columns of times.
    shorter = cells(tool["build_tables"](accuracy, {})["systems"][1])
    assert [row[-1] for row in shorter][:1] == ["minutes"] and len(shorter[0]) == 8
    assert cells(tables["systems costs"][1])[2] == [
        *("SSD lite", "61.7", "61.7", "61.9", "20.0 (20.0-20.0)"),
        *("10.0 (10.0-10.0)", "5.0 (5.0-5.0)"),
    ]
    # Better beyond chance: in bold.
    assert cells(tables["systems differences"][1])[2][2].startswith("**+")
    assert cells(tables["systems losses"][1])[2][0] == "YOLOv8 lite"
    assert "background" in cells(tables["systems errors"][1])[0]


def test_tables_alone_need_a_measurement(tmp_path, capsys):
    assert tool["main"](["--results", str(tmp_path), "--tables"]) == 2
    assert "leave out --tables" in capsys.readouterr().err


def test_results_without_a_system_are_named(tmp_path, capsys):
    assert tool["main"](["--results", str(tmp_path)]) == 2
    assert "keeps none of sparse_rcnn_lite" in capsys.readouterr().err


def test_the_pages_show_what_was_measured():
    accuracy, costs = (
        tool["read"](ROOT / f"results/systems/{n}.json") for n in ("accuracy", "cost")
    )
    for name, (page, table) in tool["build_tables"](accuracy, costs).items():
        text = (ROOT / page).read_text()
        assert replace_table(text, table, name) == text, f"{page} is not up to date: {name}"
