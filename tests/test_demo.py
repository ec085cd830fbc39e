"""What demo.py writes: pictures, detections.json and counts.csv."""

import json

import cv2
import pytest
from demo_runs import annotations, rows, run, three_images, write_image
from detectron2.utils.logger import setup_logger
from fake_predictor import FakePredictor

from bccd.counting.count_table import read_table
from bccd.data.bccd_classes import CLASS_NAMES

setup_logger(distributed_rank=0, name="bccd")  # before caplog looks for such loggers

BOUNDS = [f"{name}_{side}" for name in CLASS_NAMES for side in ("low", "high")]
ABOUT = ["diameter", "scale", "area_px", "area_mm2", *BOUNDS, "notes"]
HEADER = ["file", "status", *CLASS_NAMES, "total", *ABOUT]
POINTS = {"RBC": 0.25, "WBC": 0.7, "Platelets": 0.2}


def test_writes_pictures_detections_and_counts(tmp_path):
    write_image(tmp_path / "in/a.jpg")
    write_image(tmp_path / "in/b, c.png", 30, 40)
    out = tmp_path / "out"
    assert run("--input", tmp_path / "in", "--output", out) == 0
    assert list(read_table(out / "counts.csv")[0]) == HEADER
    assert rows(out) == [
        ["a.jpg", "ok", "1", "1", "0", "2", "", "", "3072", *[""] * 8],
        ["b, c.png", "ok", "1", "1", "0", "2", "", "", "1200", *[""] * 8],
        ["", "total", "2", "2", "0", "4", *[""] * 11],
    ]
    detections = annotations(out)
    assert [d["image_id"] for d in detections] == [1, 1, 2, 2]
    assert [d["category_id"] for d in detections] == [1, 2, 1, 2]
    assert [d["score"] for d in detections[:2]] == pytest.approx([0.9, 0.6])
    assert detections[0]["bbox"] == pytest.approx([32, 4.8, 19.2, 14.4], abs=1e-3)
    for name, height, width in (("a.png", 48, 64), ("b, c.png", 30, 40)):
        picture = cv2.imread(str(out / name))
        assert picture.shape[1] % width == 0
        assert picture.shape[0] > height * (picture.shape[1] // width)  # the legend's strip


def test_detections_are_a_coco_file_that_pycocotools_loads(tmp_path):
    from pycocotools.coco import COCO

    write_image(tmp_path / "in/s1/a.jpg")
    write_image(tmp_path / "in/s2/b.jpg", 30, 40)
    out = tmp_path / "out"
    run("--input", tmp_path / "in/**/*.jpg", "--output", out)
    found = COCO(str(out / "detections.json"))
    assert [found.imgs[i]["file_name"] for i in (1, 2)] == ["s1/a.jpg", "s2/b.jpg"]
    assert [(found.imgs[i]["width"], found.imgs[i]["height"]) for i in (1, 2)] == [
        (64, 48),
        (40, 30),
    ]
    assert {c["id"]: c["name"] for c in found.loadCats(found.getCatIds())} == dict(
        enumerate(CLASS_NAMES, start=1)
    )
    assert sorted(found.getAnnIds()) == [1, 2, 3, 4] and len(found.getAnnIds(imgIds=[2])) == 2
    for annotation in annotations(out):
        _, _, width, height = annotation["bbox"]
        assert annotation["area"] == pytest.approx(width * height, abs=1e-3)
        assert annotation["iscrowd"] == 0
    results = found.loadRes(json.loads((out / "detections.json").read_text())["annotations"])
    assert len(results.getAnnIds()) == 4
    assert found.dataset["info"]["threshold"] == dict.fromkeys(CLASS_NAMES, 0.5)


@pytest.mark.parametrize(
    ("points", "flags", "counts"),
    [
        (None, [], ["1", "1", "0", "2"]),
        (POINTS, [], ["2", "0", "1", "3"]),
        (
            {"RBC": 0.25, "WBC": 0.7, "Platelets": 0.2},
            ["--confidence-threshold", "0.95"],
            ["0"] * 4,
        ),
        (None, ["--confidence-threshold", "0"], ["2", "1", "1", "4"]),
    ],
)
def test_thresholds(tmp_path, points, flags, counts):
    image = write_image(tmp_path / "a.jpg")
    out = tmp_path / "out"
    assert run("--input", image, "--output", out, *flags, predictor=FakePredictor(points)) == 0
    assert rows(out)[0][2:6] == counts
    assert len(annotations(out)) == int(counts[-1])


def test_broken_image_is_skipped_named_and_fails_at_the_end(tmp_path, caplog):
    write_image(tmp_path / "in/a.jpg")
    (tmp_path / "in/broken.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    whole = write_image(tmp_path / "in/cut.png", 400, 400).read_bytes()
    (tmp_path / "in/cut.png").write_bytes(whole[: len(whole) // 2])
    write_image(tmp_path / "in/z.jpg")
    out = tmp_path / "out"
    assert run("--input", tmp_path / "in", "--output", out) == 1
    table = rows(out)
    assert [row[0] for row in table] == ["a.jpg", "broken.jpg", "cut.png", "z.jpg", ""]
    assert [row[1].split(":")[0] for row in table] == ["ok", *["unreadable"] * 2, "ok", "total"]
    assert [row[2:] for row in table[1:3]] == [[""] * 15] * 2
    assert table[-1][2:] == ["2", "2", "0", "4", *[""] * 10, "2 of 4 images are not counted"]
    assert str(tmp_path) not in (out / "counts.csv").read_text()
    skipped = json.loads((out / "detections.json").read_text())["not_counted"]
    assert [(entry["id"], entry["file_name"]) for entry in skipped] == [
        (2, "broken.jpg"),
        (3, "cut.png"),
    ]
    assert not (out / "broken.png").exists() and not (out / "cut.png").exists()
    last = caplog.messages[-1]
    assert "broken.jpg" in last and "cut.png" in last


def test_no_detection_leaves_valid_files(tmp_path):
    image = write_image(tmp_path / "a.jpg")
    out = tmp_path / "out"
    assert run("--input", image, "--output", out, "--confidence-threshold", "1") == 0
    assert annotations(out) == []
    assert rows(out)[-1] == ["", "total", "0", "0", "0", "0", *[""] * 11]


def test_no_pictures(tmp_path):
    three_images(tmp_path)
    flags = ["--input", tmp_path / "in", "--output", tmp_path / "out", "--no-pictures"]
    assert run(*flags) == 0
    files = sorted(f.name for f in (tmp_path / "out").iterdir())
    assert files == ["counts.csv", "detections.json", "summary.csv"]
    assert rows(tmp_path / "out")[-1][5] == "6"
