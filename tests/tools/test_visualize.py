import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.classes import class_colors
from bccd.data.formats.coco import to_coco

TOOLS = Path(__file__).resolve().parents[2] / "tools"
NAME = "visualize_test"


def run(tool, *args):
    """Run a script of tools/ and return the pictures that it names."""
    main = runpy.run_path(str(TOOLS / tool))["main"]
    return main([str(arg) for arg in args])


@pytest.fixture
def records(tmp_path):
    """Three small fields, registered under NAME."""
    fields = []
    for image_id in (1, 2, 3):
        path = tmp_path / f"field_{image_id}.png"
        cv2.imwrite(str(path), np.full((96, 128, 3), 60 * image_id, dtype=np.uint8))
        boxes = [[10, 10, 40, 40], [60, 20, 90, 60], [100, 70, 110, 80]]
        annotations = [
            {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": k, "iscrowd": 0}
            for k, box in enumerate(boxes[:image_id])
        ]
        size = {"height": 96, "width": 128}
        fields.append(
            {"file_name": str(path), "image_id": image_id, **size, "annotations": annotations}
        )
    DatasetCatalog.register(NAME, lambda: fields)
    MetadataCatalog.get(NAME).thing_classes = ["RBC", "WBC", "Platelets"]
    yield fields
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.fixture
def evaluated(tmp_path, records):
    """An output folder after an evaluation in which every cell was found."""
    folder = tmp_path / "run/inference"
    folder.mkdir(parents=True)
    detections = [
        {**{key: a[key] for key in ("image_id", "category_id", "bbox")}, "score": 0.8}
        for a in to_coco(records, CLASS_NAMES)["annotations"]
    ]
    points = {name: {"threshold": 0.5} for name in ("RBC", "WBC", "Platelets")}
    (folder / "coco_instances_results.json").write_text(json.dumps(detections))
    (folder / "operating_points.json").write_text(json.dumps({"iou": 0.5, "classes": points}))
    return folder


def size(path):
    height, width = cv2.imread(str(path)).shape[:2]
    return width, height


def test_data_figures(tmp_path, records, capsys):
    out = tmp_path / "figures"
    flags = [
        "--opts",
        "INPUT.FIXED_SIZE",
        (96, 128),
        "INPUT.PHOTOMETRIC.ENABLED",
        True,
        "INPUT.PHOTOMETRIC.HUE",
        20.0,
    ]
    run("visualize_data.py", "--dataset", NAME, "--output", out, "--augmentations", *flags)
    written = capsys.readouterr().out.split()
    names = ["class_histogram.png", "box_sizes.png", "field_00003.png", "augmentations.png"]
    assert written == [str(out / name) for name in names]
    assert size(out / "class_histogram.png")[1] == 3.2 * 200
    assert size(out / "box_sizes.png") == (960, 840)
    assert size(out / "field_00003.png")[0] == 1280
    assert size(out / "augmentations.png")[0] == 1440


def test_data_figure_of_a_chosen_image(tmp_path, records, capsys):
    run("visualize_data.py", "--dataset", NAME, "--output", tmp_path / "o", "--image", 1)
    assert (tmp_path / "o/field_00001.png").is_file()
    with pytest.raises(SystemExit):
        run("visualize_data.py", "--dataset", NAME, "--output", tmp_path / "o", "--image", 9)
    assert "no image 9" in capsys.readouterr().err


def test_result_figures(tmp_path, evaluated, capsys):
    metrics = {"iteration": 19, "total_loss": 1.0, "lr": 0.1, "bbox/AP": 40.0}
    (evaluated.parent / "metrics.json").write_text(json.dumps(metrics) + "\n")
    out = tmp_path / "figures"
    flags = ["--dataset", NAME, "--output", out, "--images", 2]
    run("visualize_results.py", "--results", evaluated, *flags)
    written = capsys.readouterr().out.split()
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.png")) == [
        "best.png",
        "counts.png",
        *(f"pairs/field_{i}.png" for i in (1, 2, 3)),
        "precision_recall.png",
        "scores.png",
        "training.png",
        "truth_beside_prediction.png",
        "worst.png",
    ]
    assert all(Path(path).is_file() for path in written) and len(written) == 10
    assert size(out / "truth_beside_prediction.png")[0] == 1440
    assert size(out / "worst.png")[0] == 1440
    assert size(out / "pairs/field_3.png")[0] == 2400


def test_result_figures_without_training_log(tmp_path, evaluated, capsys):
    out = tmp_path / "figures"
    flags = ["--dataset", NAME, "--output", out, "--images", 1]
    run("visualize_results.py", "--results", evaluated, *flags)
    assert "no training curves" in capsys.readouterr().err
    assert not (out / "training.png").exists() and (out / "scores.png").is_file()


@pytest.mark.parametrize(
    ("tool", "flags", "message"),
    [
        ("visualize_data.py", [], "no dataset nothing"),
        ("visualize_results.py", ["--results", "."], "no dataset nothing"),
    ],
)
def test_unknown_dataset(tmp_path, tool, flags, message, capsys):
    with pytest.raises(SystemExit) as stop:
        run(tool, "--dataset", "nothing", "--output", tmp_path, *flags)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_iou_is_that_of_the_operating_points_or_the_given_one(tmp_path, evaluated, monkeypatch):
    tool = runpy.run_path(str(TOOLS / "visualize_results.py"))
    seen = []
    monkeypatch.setitem(tool["main"].__globals__, "draw_all", lambda *a: seen.append(a) or [])
    flags = ["--results", str(evaluated), "--dataset", NAME, "--output", str(tmp_path)]
    for extra in ([], ["--iou", "0.75"]):
        assert tool["main"]([*flags, *extra]) == 0
    assert [results.iou for results, *_ in seen] == [0.5, 0.75]
    with pytest.raises(SystemExit) as stop:
        tool["main"]([*flags, "--iou", "0.05"])
    assert stop.value.code == 2


def test_results_of_another_dataset_or_none(tmp_path, evaluated, capsys):
    def message(results):
        with pytest.raises(SystemExit):
            flags = ["--dataset", NAME, "--output", tmp_path / "o"]
            run("visualize_results.py", "--results", results, *flags)
        return capsys.readouterr().err

    assert "coco_instances_results.json is missing" in message(tmp_path)
    stranger = [{"image_id": 77, "category_id": 1, "bbox": [0, 0, 5, 5], "score": 0.9}]
    (evaluated / "coco_instances_results.json").write_text(json.dumps(stranger))
    assert "image 77, which is not in the data set" in message(evaluated)


def test_real_field(tmp_path, bccd_root, capsys):
    flags = ["--dataset", "bccd_paper_test", "--output", tmp_path]
    run("visualize_data.py", *flags)
    fields = list(tmp_path.glob("field_*.png"))
    assert len(fields) == 1 and size(fields[0])[0] == 1280


def test_the_assignment_is_drawn_small(tmp_path, records, capsys):
    target = tmp_path / "new" / "ssd.png"
    config = TOOLS.parent / "configs" / "SSD" / "ssd_lite_bccd.yaml"
    options = ("--dataset", NAME, "--image", 3, "--output", target)
    run("draw_assignment.py", "--config-file", config, *options)
    assert capsys.readouterr().out.split() == [str(target)]
    assert target.stat().st_size < 150_000
    picture = cv2.imread(str(target))[:, :, ::-1].reshape(-1, 3).astype(int)
    colors = class_colors(CLASS_NAMES)
    for color in colors:  # of boxes, markers and the legend
        assert (abs(picture - color).max(axis=1) < 12).sum() > 100


def test_an_image_that_is_not_there_is_named(tmp_path, records, capsys):
    config = TOOLS.parent / "configs" / "SSD" / "ssd_lite_bccd.yaml"
    options = ("--dataset", NAME, "--image", 9, "--output", tmp_path / "a.png")
    with pytest.raises(SystemExit):
        run("draw_assignment.py", "--config-file", config, *options)
    assert f"no image 9 in {NAME}" in capsys.readouterr().err
