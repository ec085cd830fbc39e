"""Slides: counting tile by tile, with a detector that is never wrong at the right scale."""

import csv
import json
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
import tifffile
from disc_detector import DiscDetector
from ndpi_file import write_ndpi

from bccd.counting.counter import CellCounter
from bccd.counting.field import FILE, MEASURED
from bccd.counting.image_errors import ImageError
from bccd.counting.regions.reading import to_region
from bccd.counting.regions.region import MaskRegion
from bccd.counting.slides.cells_file import write_area
from bccd.counting.slides.monolayer import find_monolayer
from bccd.counting.slides.slide import Slide
from bccd.data.images.slide_files import is_slide
from bccd.data.synthetic.slide import SlideOfFields, by_columns, write_slide

SIDE, DIAMETER = 256, 46
MPP = 7.5 / DIAMETER


def disc_field(seed):
    """Dark discs on white, apart from each other and from the border, and their boxes."""
    rng = np.random.default_rng(seed)
    image, boxes = np.full((SIDE, SIDE, 3), 235, np.uint8), []
    for row in range(4):
        for column in range(4):
            x, y = np.array([column, row]) * 64 + 32 + rng.integers(-5, 6, 2)
            if rng.random() < 0.9:
                cv2.circle(image, (int(x), int(y)), DIAMETER // 2, (90, 60, 100), -1)
                boxes.append((x - 23, y - 23, x + 24, y + 24))
    boxes = np.array(boxes, np.float32)
    return image, boxes, np.zeros(len(boxes), int)


FIELDS = [disc_field(seed) for seed in range(6)]
LAYOUT = by_columns(thick=0.25, empty=0.25)


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """(path, SlideOfFields) of a slide with a thick end, a monolayer, and glass."""
    path = tmp_path_factory.mktemp("slide") / "smear.tif"
    fields = SlideOfFields(6, 12, FIELDS, LAYOUT)
    write_slide(path, fields, MPP)
    return path, fields


@pytest.fixture
def counter():
    return CellCounter.of(DiscDetector())


def marks(fields):
    return np.concatenate([boxes for boxes, _ in fields.marks()])


def read_rows(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def features(folder, name="cells.geojson"):
    return json.loads((folder / name).read_text())["features"]


def corners(folder):
    """Sorted (left, top, right, bottom) of the cells of a slide."""
    rings = [np.array(f["geometry"]["coordinates"][0]) for f in features(folder)]
    return np.array(sorted([*ring.min(axis=0), *ring.max(axis=0)] for ring in rings))


def test_a_slide_is_read_in_parts_at_any_size(slide):
    path, fields = slide
    with Slide(path) as opened:
        assert opened.size == fields.size and opened.micrometres_per_pixel == pytest.approx(MPP)
        part = opened[300:600, 1100:1500].astype(int)
        whole = fields.read(1, 1024, 256, 512)[44:344, 76:476, ::-1]
        assert np.abs(part - whole).mean() < 3
        small = opened.read_reduced(0.2)
        strips = [opened.read_reduced(0.2, top, top + 100) for top in range(0, 307, 100)]
        assert np.abs(np.concatenate(strips).astype(int) - small).mean() < 3


def test_cells_are_counted_in_the_monolayer_alone_and_once(slide, counter, tmp_path):
    path, fields = slide
    result = counter.count_slide(path, tmp_path, pictures=False)
    assert result.scale == (pytest.approx(DIAMETER), FILE) and not result.notes
    true = marks(fields)
    centres = (true[:, :2] + true[:, 2:]) / 2
    area = to_region(tmp_path / "counted_area.geojson")
    assert result.counts["RBC"] == area.contains(centres).sum()
    # The monolayer is the middle half of the slide, but for blocks at its ends.
    height, width = fields.size
    assert result.area.pixels == pytest.approx(height * width / 2, rel=0.15)
    assert result.area.pixels == round(area.area_in((0, 0, width, height)))
    assert result.area.mm2 == pytest.approx(result.area.pixels * MPP**2 / 1e6)
    assert len(true) * 0.85 < result.counts["RBC"] <= len(true) * 1.01


def test_what_is_counted_lies_where_it_is_marked(slide, counter, tmp_path):
    path, fields = slide
    height, width = fields.size
    left, right, bottom = width * 0.3, width * 0.7, height - 50
    region = f"{left},100 {right},100 {right},{bottom} {left},{bottom - 200}"
    counter.count_slide(path, tmp_path, region=region, pictures=False)
    true = marks(fields)
    inside = to_region(region).contains((true[:, :2] + true[:, 2:]) / 2)
    expected = np.array(sorted(true[inside].tolist()))
    found = corners(tmp_path)
    assert len(found) == len(expected)
    gaps = np.abs(found[:, None] - expected).max(axis=2).min(axis=1)
    assert gaps.max() < 3


def test_tiles_add_up_and_qupath_gets_every_cell(slide, counter, tmp_path):
    result = counter.count_slide(slide[0], tmp_path)
    rows = read_rows(tmp_path / "tiles.csv")
    assert len(rows) > 20
    assert sum(int(row["RBC"]) for row in rows) == result.counts["RBC"]
    assert sum(int(row["area_px"]) for row in rows) == result.area.pixels
    cells = features(tmp_path)
    assert len(cells) == result.counts["RBC"]
    assert cells[0]["properties"]["objectType"] == "detection"
    assert cells[0]["properties"]["classification"] == {"name": "RBC", "color": [200, 70, 0]}
    assert 0 < cells[0]["properties"]["measurements"]["score"] <= 1
    for name in ("overview.png", "density.png"):
        assert cv2.imread(str(tmp_path / name)).std() > 10
    assert not (tmp_path / "unfinished").exists()


def test_the_counted_area_as_a_region_gives_the_same_counts(slide, counter, tmp_path):
    first = counter.count_slide(slide[0], tmp_path / "first", pictures=False)
    area = tmp_path / "first/counted_area.geojson"
    second = counter.count_slide(slide[0], tmp_path / "second", pictures=False, region=area)
    assert second.counts == first.counts and second.area.pixels == first.area.pixels


def test_a_slide_counts_as_a_field_of_its_size(counter, tmp_path):
    fields = SlideOfFields(4, 5, FIELDS)
    path = tmp_path / "small.ome.tif"
    write_slide(path, fields, MPP)
    width, height = 5 * SIDE, 4 * SIDE
    region = f"0,0 {width},0 {width},{height} 0,{height}"
    slide = counter.count_slide(path, tmp_path / "out", region=region)
    field = counter(path)
    assert slide.counts == field.counts == {"RBC": len(marks(fields)), "WBC": 0, "Platelets": 0}
    assert slide.scale.source == FILE
    np.testing.assert_allclose(corners(tmp_path / "out"), sorted(field.boxes.tolist()), atol=0.02)


def test_a_slide_that_states_no_scale_is_measured(counter, tmp_path):
    path = tmp_path / "smear.tif"
    fields = SlideOfFields(6, 12, FIELDS, LAYOUT)
    write_slide(path, fields)
    result = counter.count_slide(path, tmp_path / "out", pictures=False)
    assert result.scale.source == MEASURED
    assert result.scale.diameter == pytest.approx(DIAMETER, rel=0.06)
    assert result.area.mm2 is None and result.counts["RBC"] > 0.8 * len(marks(fields))


class Dying(DiscDetector):
    """Ends after so many looks."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    def detect_resized(self, image):
        if len(self.images) == self.looks:
            raise KeyboardInterrupt
        return super().detect_resized(image)


def test_a_run_that_was_cut_short_goes_on(slide, counter, tmp_path):
    counter.count_slide(slide[0], tmp_path / "whole")
    dying = Dying(20)
    with pytest.raises(KeyboardInterrupt):
        CellCounter.of(dying).count_slide(slide[0], tmp_path / "cut")
    with open(tmp_path / "cut/unfinished/tiles.jsonl", "ab") as file:
        file.write(b'{"tile": 7, "ful')  # a line that a kill has cut short
    second = DiscDetector()
    CellCounter.of(second).count_slide(slide[0], tmp_path / "cut")
    assert len(second.images) == len(counter.predictor.images) - 20
    for name in ("cells.geojson", "tiles.csv", "counted_area.geojson", "overview.png"):
        whole, cut = ((tmp_path / each / name).read_bytes() for each in ("whole", "cut"))
        assert whole == cut


def test_another_threshold_starts_afresh(slide, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        CellCounter.of(Dying(20)).count_slide(slide[0], tmp_path)
    detector = DiscDetector()
    CellCounter.of(detector, 0.4).count_slide(slide[0], tmp_path)
    assert len(detector.images) > 20


def test_glass_and_thick_parts_have_no_monolayer(counter, tmp_path):
    path = tmp_path / "glass.tif"
    write_slide(path, SlideOfFields(4, 8, FIELDS, by_columns(thick=0.5, empty=0.5)), MPP)
    with Slide(path) as opened, pytest.raises(ImageError, match="no monolayer"):
        find_monolayer(opened, DIAMETER)


def test_a_file_of_a_hamamatsu_scanner_is_counted(counter, tmp_path):
    rows = [np.hstack([FIELDS[(row + i) % 6][0] for i in range(8)]) for row in range(4)]
    image = np.vstack(rows)
    boxes = [len(FIELDS[(row + i) % 6][1]) for row in range(4) for i in range(8)]
    path = tmp_path / "smear.ndpi"
    write_ndpi(path, [image, cv2.resize(image, None, fx=0.5, fy=0.5)], MPP)
    assert is_slide(path)
    region = "0,0 2048,0 2048,1024 0,1024"
    result = counter.count_slide(path, tmp_path / "out", region=region, pictures=False)
    assert result.scale == (pytest.approx(DIAMETER), FILE) and result.size == (1024, 2048)
    assert result.counts["RBC"] == sum(boxes)


def test_tiles_out_of_focus_are_noted_in_the_table_and_of_the_slide(tmp_path):
    rows = [np.hstack([FIELDS[(row + i) % 6][0] for i in range(8)]) for row in range(8)]
    image = np.vstack(rows)
    image[:, :1024] = cv2.GaussianBlur(image[:, :1024], (0, 0), 0.2 * DIAMETER)
    path, detector = tmp_path / "smear.ndpi", DiscDetector()
    write_ndpi(path, [image], MPP)
    detector.field_size = (480, 640)  # of photographs
    options = {"region": "0,0 2048,0 2048,2048 0,2048", "pictures": False}
    result = CellCounter.of(detector).count_slide(path, tmp_path / "out", **options)
    rows = read_rows(tmp_path / "out/tiles.csv")
    blurred = [row for row in rows if "out of focus" in row["notes"]]
    assert all(float(row["left"]) < 1024 for row in blurred) and 0 < len(blurred) < len(rows)
    assert any(f"out of focus in {len(blurred)} of the" in note for note in result.notes)


def test_which_files_are_slides(slide, tmp_path):
    assert not is_slide(slide[0])  # a field may have as many pixels
    write_slide(tmp_path / "large.tif", SlideOfFields(15, 17, FIELDS))
    assert is_slide(tmp_path / "large.tif")
    text = {"description": "Aperio Image Library v11.2.1|MPP = 0.1", "metadata": None}
    tifffile.imwrite(tmp_path / "a.svs", np.zeros((64, 64, 3), np.uint8), photometric="rgb", **text)
    assert is_slide(tmp_path / "a.svs")
    tifffile.imwrite(tmp_path / "page.tif", np.zeros((64, 64, 3), np.uint8), photometric="rgb")
    assert not is_slide(tmp_path / "page.tif") and not is_slide(tmp_path / "missing.tif")


def test_what_is_no_slide_is_refused(counter, tmp_path, slide):
    (tmp_path / "text.svs").write_text("text")
    with pytest.raises(ImageError, match="no slide"):
        counter.count_slide(tmp_path / "text.svs", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="missing"):
        counter.count_slide(tmp_path / "missing.svs", tmp_path / "out")
    with pytest.raises(ValueError, match="beyond the image"):
        counter.count_slide(slide[0], tmp_path / "out", region="0,0 90000,0 0,10")
    plain = DiscDetector()
    plain.magnification = None
    with pytest.raises(ImageError, match="magnification"):
        CellCounter.of(plain).count_slide(slide[0], tmp_path / "out")


def test_without_tiffslide_the_extra_is_named(slide, counter, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tiffslide", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[slides\]'"):
        counter.count_slide(slide[0], tmp_path)


def test_a_busy_machine_ends_without_a_traceback():
    program = """
        import time
        from bccd.counting.slides.slide import import_tiffslide
        import_tiffslide()
        from zarr.core import sync
        sync._get_loop().call_soon_threadsafe(time.sleep, 0.6)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_small_mask_is_a_region_of_a_slide(slide, counter, tmp_path):
    _, fields = slide
    mask = np.zeros((48, 96), bool)
    mask[:, 30:60] = True
    result = counter.count_slide(slide[0], tmp_path, region=mask, pictures=False)
    true = marks(fields)
    x = (true[:, 0] + true[:, 2]) / 2
    assert result.counts["RBC"] == ((x > 30 * 32) & (x < 60 * 32)).sum()
    assert result.area.pixels == 48 * 30 * 32 * 32


def test_a_counted_area_whose_parts_touch_at_corners_is_a_region(tmp_path):
    mask = np.array([[1, 0, 1, 1, 1], [0, 1, 1, 0, 1], [1, 0, 1, 1, 1]], bool)
    area = MaskRegion(mask, 10.0)
    write_area(tmp_path / "area.geojson", area, (28, 50))
    again = to_region(tmp_path / "area.geojson")
    for rectangle in [(0, 0, 50, 28), (12, 3, 37, 25)]:
        assert again.area_in(rectangle) == pytest.approx(area.area_in(rectangle))


def test_a_slide_in_one_piece_is_refused_and_one_in_strips_is_read(tmp_path, monkeypatch):
    image = np.tile(FIELDS[0][0], (4, 4, 1))
    for name, rows in (("piece", len(image)), ("strips", 8)):
        path = tmp_path / f"{name}.tif"
        tifffile.imwrite(path, image, photometric="rgb", rowsperstrip=rows)
    monkeypatch.setattr("bccd.counting.slides.slide._LARGEST_PIECE", image.nbytes - 1)
    with pytest.raises(ImageError, match="not stored in tiles"):
        Slide(tmp_path / "piece.tif")
    with Slide(tmp_path / "strips.tif") as slide:
        np.testing.assert_array_equal(slide[100:300, 5:200], image[100:300, 5:200, ::-1])


def test_a_pixel_size_that_the_cells_contradict_is_noted_and_not_used(counter, tmp_path):
    path = tmp_path / "smear.tif"
    fields = SlideOfFields(4, 16, FIELDS, by_columns(thick=0.4, empty=0.4))
    write_slide(path, fields, MPP / 2)
    result = counter.count_slide(path, tmp_path / "out", pictures=False)
    assert result.scale == (pytest.approx(DIAMETER, rel=0.06), MEASURED)
    assert "would be 92 pixels wide, but" in result.notes[0] and result.area.mm2 is None
    assert result.counts["RBC"] > 0.6 * len(marks(fields))
