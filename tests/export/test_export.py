"""Exported detectors on tiny models with random weights."""

import json
import re
import subprocess
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from tiny_detectors import THRESHOLDS, small_smears, tiny_model

import demo
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.synthetic import draw_smear
from bccd.export import onnx_file
from bccd.export import save as export_module
from bccd.export.check import compare_detections
from bccd.export.detector import exportable
from bccd.export.metadata import Metadata
from bccd.export.runtime import ExportedPredictor, load, to_array
from bccd.export.save import DifferentModelError, export_detector
from bccd.modeling.pooling import RegionPooler

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ssd(onnx_of):
    return onnx_of("ssd")[0]


def test_regions_that_cannot_be_traced_are_refused():
    model = tiny_model("sparse_rcnn")[0]
    pooler = model.head.pooler
    model.head.pooler = RegionPooler(pooler.resolution, pooler.scales, 0, "ROIAlignV2")
    with pytest.raises(ValueError, match="POOLER_SAMPLING_RATIO above 0"):
        exportable(model)


def test_the_file_holds_everything_a_caller_needs(ssd):
    session = onnxruntime.InferenceSession(str(ssd))
    assert [x.name for x in session.get_inputs()] == ["images"]
    data = json.loads(session.get_modelmeta().custom_metadata_map["bccd"])
    assert data["class_names"] == list(CLASS_NAMES) and data["thresholds"] == THRESHOLDS
    assert (data["channel_order"], data["min_size"], data["max_size"]) == ("BGR", 96, 128)
    assert data["field_size"] == [480, 640]
    assert data["pixel_mean"] == pytest.approx([103.53, 116.28, 123.675])
    assert [f.name for f in ssd.parent.iterdir()] == [ssd.name]


def test_a_model_that_differs_is_not_written(tmp_path, monkeypatch):
    model, cfg = tiny_model("ssd")
    path = tmp_path / "ssd.onnx"
    path.write_text("older")

    def write_other(program, draft, strings):
        Path(draft).write_text("other")

    def load_other(runtime, draft):
        return lambda images: [
            np.full((len(images), 1, 4), 7, np.float32),
            np.full((len(images), 1), 0.9, np.float32),
            np.zeros((len(images), 1), np.int64),
        ]

    monkeypatch.setattr(onnx_file, "write", write_other)
    monkeypatch.setattr(onnx_file, "trace", lambda *args: None)
    monkeypatch.setattr(export_module, "load", load_other)
    with pytest.raises(DifferentModelError, match=r"(?s)ssd\.onnx was not written.*only the eager"):
        export_detector(model, cfg, THRESHOLDS, path, small_smears())
    assert path.read_text() == "older" and list(tmp_path.iterdir()) == [path]


def test_compare_finds_what_is_in_one_list_alone():
    boxes = np.array([[0, 0, 9, 9], [5, 5, 8, 8]], np.float32)
    scores, classes = np.array([0.9, 0.5], np.float32), np.array([0, 1])
    first = (boxes, scores, classes)
    assert compare_detections(first, tuple(x[::-1] for x in first), 1e-3, 1e-3) == []
    assert len(compare_detections(first, (boxes, scores, classes[::-1]), 1e-3, 1e-3)) == 4
    assert (
        len(
            compare_detections(
                first, (boxes + np.array([[0.01], [0]]), scores, classes), 1e-3, 1e-3
            )
        )
        == 2
    )
    assert len(compare_detections(first, (boxes, scores + 0.01, classes), 1e-3, 1e-3)) == 4
    assert len(compare_detections(first, tuple(x[:1] for x in first), 1e-3, 1e-3)) == 1
    assert compare_detections(first, tuple(x[:1] for x in first), 1e-3, 1e-3, lowest=0.6) == []


def test_demo_runs_the_file_without_the_models_code(ssd, tmp_path, warm_python):
    cv2.imwrite(str(tmp_path / "a.png"), draw_smear(1)[0])
    code = (
        "import sys, demo; status = demo.main(sys.argv[1:]);"
        "assert 'bccd.counting.predictor' not in sys.modules and 'ssd' not in sys.modules;"
        "sys.exit(status)"
    )
    flags = ["--runtime", "onnx", ssd, "--input", tmp_path / "a.png", "--output", tmp_path / "out"]
    done = subprocess.run(
        [warm_python.executable, "-c", code, *map(str, flags)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"[0-9]+ runs of the detector in .* per second", done.stdout + done.stderr)
    detections = json.loads((tmp_path / "out/detections.json").read_text())["annotations"]
    limits = list(THRESHOLDS.values())
    assert all(d["score"] >= limits[d["category_id"] - 1] for d in detections)
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"a.png", "counts.csv", "detections.json"}


def test_the_predictor_gives_boxes_in_pixels_of_the_image(ssd):
    predictor = ExportedPredictor("onnx", ssd)
    image = draw_smear(2)[0]
    found = predictor(image)
    assert found.image_size == image.shape[:2]
    small = to_array(predictor.prepare(image))
    boxes, scores, _ = (x[0] for x in load("onnx", ssd)(small[None]))
    scale = [image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]] * 2
    np.testing.assert_allclose(found.boxes, boxes[scores >= 0] * scale, atol=1e-2)
    assert predictor.operating_points == THRESHOLDS
    assert (predictor.field_size, predictor.max_detections) == ((480, 640), 100)


def test_wrong_files_are_named(tmp_path, capsys):
    flags = ["--input", str(ROOT / "docs/images"), "--output", str(tmp_path / "out")]
    (tmp_path / "bad.onnx").write_text("nothing")
    for runtime, file, message in (
        ("onnx", "none.onnx", "none.onnx does not exist"),
        ("onnx", "bad.onnx", "cannot load"),
        ("tensorrt", "a.onnx", "use one of pytorch, onnx, openvino"),
    ):
        with pytest.raises(SystemExit) as stop:
            demo.main(["--runtime", runtime, str(tmp_path / file), *flags])
        assert stop.value.code == 2
        assert re.search(message, capsys.readouterr().err)
    with pytest.raises(ValueError, match="no metadata of this project"):
        Metadata.from_strings({}, "other.onnx")


def test_the_example_of_the_page_counts_as_the_predictor(ssd, tmp_path, warm_python):
    page = (ROOT / "docs/deployment.md").read_text()
    code, _ = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(code.splitlines()) <= 35
    (tmp_path / "count_cells.py").write_text(code)
    # Already of the size for testing, where both ways of resizing do nothing.
    image = draw_smear(4, 96, 128)[0]
    cv2.imwrite(str(tmp_path / "a.png"), image)
    done = subprocess.run(
        [warm_python.executable, "count_cells.py", str(ssd), "a.png"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = ExportedPredictor("onnx", ssd)(image)
    limits = np.array(list(THRESHOLDS.values()), np.float32)
    kept = found[found.scores >= limits[found.classes]]
    assert len(kept) > 0
    lines = done.stdout.splitlines()[1:]
    expected = [
        f"  {CLASS_NAMES[c]} {s:.3f} " + " ".join(f"{v:.1f}" for v in box)
        for c, s, box in zip(kept.classes, kept.scores, kept.boxes.tolist(), strict=True)
    ]
    assert lines == expected
