"""Cells that are counted here, corrected in another program and counted again."""

import json
import re
import shutil
import zipfile

import pytest
from demo_runs import run, write_image
from fake_predictor import FakePredictor

from bccd import cli
from bccd.counting.corrected_images import find_name
from bccd.counting.count_table import read_table
from bccd.data.formats.registry import FORMATS, read_dataset

SCORED = [name for name, form in FORMATS.items() if form.scores]


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Folder of a run over three images, two of one name, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("run")

    class Small(FakePredictor):
        field_size = (48, 64)

    write_image(folder / "in/s1/a ế.png")
    write_image(folder / "in/s2/a ế.png", 96, 128)
    write_image(folder / "in/s2/c.png")
    (folder / "in/s2/bad.jpg").write_text("nothing")
    flags = ["--input", folder / "in/**/*.*", "--output", folder / "out"]
    assert run(*flags, predictor=Small()) == 1
    return folder / "out"


def rows(folder):
    table = read_table(folder / "counts.csv")
    return [{k: v for k, v in row.items() if not k.endswith(("_low", "_high"))} for row in table]


def convert(counted, tmp_path, form):
    source, target = f"{counted}/detections.json", tmp_path / form
    assert cli.main(["convert", source, f"{form}:{target}"]) == 0
    return target


def recount(tmp_path, corrected, *more):
    flags = ["-o", str(tmp_path / "again"), "--overwrite", *map(str, more)]
    assert cli.main(["recount", str(corrected), *flags]) == 0
    return rows(tmp_path / "again")


@pytest.mark.parametrize("form", FORMATS)
def test_an_uncorrected_file_of_any_format_gives_the_same_counts(tmp_path, counted, form):
    target = convert(counted, tmp_path, form)
    again = recount(tmp_path, target, "--run", counted / "detections.json")
    assert again == rows(counted)
    assert [row["file"] for row in again][:4] == [
        "s1/a ế.png",
        "s2/a ế.png",
        "s2/bad.jpg",
        "s2/c.png",
    ]


@pytest.mark.parametrize("form", SCORED)
def test_scores_and_boxes_are_those_of_the_run(tmp_path, counted, form):
    target = convert(counted, tmp_path, form)
    content = json.loads((counted / "detections.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    wanted = sorted(
        (names[a["image_id"]].rpartition("/")[2], a["score"], *(round(v, 3) for v in a["bbox"]))
        for a in content["annotations"]
    )
    found = sorted(
        (image.path.name, box.score, *(round(v, 3) for v in (x0, y0, x1 - x0, y1 - y0)))
        for image in read_dataset(target).images.values()
        for box in image.boxes
        for x0, y0, x1, y1 in [box.corners]
    )
    assert [row[:2] for row in found] == [row[:2] for row in wanted]
    for ours, theirs in zip(wanted, found, strict=True):
        assert theirs[2:] == pytest.approx(ours[2:], abs=2e-3)


def test_an_archive_without_images_is_counted(tmp_path, counted):
    target = convert(counted, tmp_path, "cvat")
    xml = (target / "annotations.xml").read_text()
    box = re.search(r"<box .*?</box>\s*", xml, flags=re.DOTALL)[0]
    label = re.search(r'label="([^"]+)"', box)[1]
    with zipfile.ZipFile(tmp_path / "from_cvat.zip", "w") as archive:
        archive.writestr("annotations.xml", xml.replace(box, "", 1))
    again = recount(tmp_path, tmp_path / "from_cvat.zip", "--run", counted / "detections.json")
    before = rows(counted)
    assert int(again[0][label]) == int(before[0][label]) - 1 and again[1:4] == before[1:4]


@pytest.mark.parametrize(
    ("form", "file"), [("imagej", "c.zip"), ("qupath", "c.geojson"), ("labelme", "c.json")]
)
def test_the_file_of_one_image_is_counted_without_the_image(tmp_path, counted, form, file):
    target = convert(counted, tmp_path, form)
    alone = tmp_path / "alone" / file
    alone.parent.mkdir()
    shutil.copy(next(target.rglob(file)), alone)
    again = recount(tmp_path, alone, "--run", counted / "detections.json")
    assert again == rows(counted)
    (row,) = [row for row in recount(tmp_path, alone) if row["status"] == "ok"]
    assert row["file"] in ("c", "c.png")


def test_without_the_run_the_images_are_those_of_the_file(tmp_path, counted):
    target = convert(counted, tmp_path, "labelstudio")
    tasks = json.loads((target / "tasks.json").read_text())
    tasks[0]["predictions"] = []
    (target / "tasks.json").write_text(json.dumps(tasks))
    again = recount(tmp_path, target / "tasks.json")
    assert {row["file"]: row["status"] for row in again if row["file"].endswith("png")} == {
        "images/s1/a ế.png": "not annotated",
        "images/s2/a ế.png": "ok",
        "images/s2/c.png": "ok",
    }


def test_two_images_that_are_one_of_the_run_are_refused(tmp_path, counted, capsys):
    target = convert(counted, tmp_path, "via")
    path = target / "via_project.json"
    path.write_text(path.read_text().replace("s1/a ế.png", "x/c.png"))
    (target / "images/s1").rename(target / "images/x")
    (target / "images/x/a ế.png").rename(target / "images/x/c.png")
    flags = ["--run", str(counted / "detections.json"), "-o", str(tmp_path / "again")]
    assert cli.main(["recount", str(target), *flags]) == 2
    assert "are both s2/c.png of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("s1/a.png", "s1/a.png"),
        ("data/obj/s1/a.png", "s1/a.png"),
        ("images\\s2\\a.png", "s2/a.png"),
        ("a.png", None),
        ("b.tif", "b.tif"),
        ("x/1a2b3c4d-b.tif", "b.tif"),
        ("b", "b.tif"),
        ("b.jpg", "b.tif"),
        ("c", None),
    ],
)
def test_an_image_is_told_by_what_programs_make_of_its_name(name, found):
    assert find_name(name, ["s1/a.png", "s2/a.png", "b.tif"]) == found
