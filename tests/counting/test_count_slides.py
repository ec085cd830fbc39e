"""Slides beside fields in a run of ``bccd count``."""

import json

import numpy as np
import pytest
import tifffile
from disc_detector import DiscDetector, draw_field

from bccd.cli import main
from bccd.counting import run as counting
from bccd.counting.count_table import read_table
from bccd.counting.options import CountOptions

APERIO = {"description": "Aperio Image Library v11.2.1|MPP = 0.15", "metadata": None}


@pytest.fixture
def inputs(tmp_path):
    """A folder with a field, a slide of Aperio's, and one that is damaged."""
    folder = tmp_path / "in"
    folder.mkdir()
    options = {"photometric": "rgb", "tile": (128, 128), "compression": "jpeg"}
    tifffile.imwrite(folder / "field.tif", draw_field(4, 5, 50), photometric="rgb")
    tifffile.imwrite(folder / "slide.svs", draw_field(12, 15, 50), **options, **APERIO)
    grey = np.zeros((256, 256), np.uint16)
    tifffile.imwrite(folder / "wrong.svs", grey, **APERIO)
    return folder


def count(folder, output, detector=None, **options):
    options = CountOptions(str(output), (str(folder),), **options)
    return counting.run(counting.prepare(options, detector or DiscDetector()))


def test_a_folder_of_fields_and_slides(inputs, tmp_path):
    out = tmp_path / "out"
    assert count(inputs, out) == 1
    field, slide, wrong, total = read_table(out / "counts.csv")
    assert field["RBC"] == "20" and slide["RBC"] == str(12 * 15) and total["RBC"] == "200"
    assert wrong["status"].startswith("holds uint16 pixels")
    assert slide["scale"] == "file" and slide["diameter"] == "50.0"
    assert float(slide["area_mm2"]) == pytest.approx(int(slide["area_px"]) * 0.15**2 / 1e6)
    content = json.loads((out / "detections.json").read_text())
    of_slide = [a for a in content["annotations"] if a["image_id"] == 2]
    assert len(of_slide) == 180 and {a["category_id"] for a in of_slide} == {1}
    assert sorted(path.name for path in (out / "slide").iterdir()) == [
        "cells.geojson",
        "counted_area.geojson",
        "density.png",
        "overview.png",
        "tiles.csv",
    ]
    assert main(["recount", str(out / "detections.json"), "-o", str(tmp_path / "again")]) == 0
    again = read_table(tmp_path / "again/counts.csv")[1]
    assert {**again, "notes": ""} == {**slide, "notes": ""}


def test_a_slide_that_a_kill_cut_short_goes_on(inputs, tmp_path):
    (inputs / "wrong.svs").unlink()
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    detector, dying = DiscDetector(), DiscDetector()
    assert count(inputs, whole, detector, pictures=False) == 0
    looks = len(detector.images)

    def detect(image, known=dying.detect_resized):
        if len(dying.images) == looks - 3:
            raise KeyboardInterrupt
        return known(image)

    dying.detect_resized = detect
    with pytest.raises(KeyboardInterrupt):
        count(inputs, cut, dying, pictures=False)
    row = read_table(cut / "counts.csv")[1]
    assert row["status"].startswith("not done yet") and row["RBC"] == ""
    last = DiscDetector()
    assert count(inputs, cut, last, pictures=False) == 0
    assert len(last.images) == 3
    for name in ("counts.csv", "detections.json", "slide/cells.geojson", "slide/tiles.csv"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()
    assert not list(cut.rglob("*.png")) and not list(cut.rglob("unfinished"))


def test_a_region_counts_in_slides_and_fields(inputs, tmp_path):
    (inputs / "wrong.svs").unlink()
    assert count(inputs, tmp_path / "out", region="0,0 210,0 210,140 0,140") == 0
    field, slide, _ = read_table(tmp_path / "out/counts.csv")
    assert field["RBC"] == slide["RBC"] == str(2 * 3)
    assert field["area_px"] == slide["area_px"] == str(210 * 140)
    assert count(inputs, tmp_path / "wrong", region="0,0 900,0 900,500 0,500") == 1
    field, slide, _ = read_table(tmp_path / "wrong/counts.csv")
    assert "beyond the image of 350 x 280" in field["status"] and slide["status"] == "ok"
    with pytest.raises(FileNotFoundError, match=r"none\.geojson does not exist"):
        count(inputs, tmp_path / "never", region="none.geojson")
