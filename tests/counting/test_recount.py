import json

import pytest
from demo_runs import run, write_image
from fake_predictor import FakePredictor

from bccd import cli
from bccd.counting.count_table import read_table
from bccd.data.bccd_classes import CLASS_NAMES


def main(arguments):
    return cli.main(["recount", *arguments])


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """Folder of a run over three images, one of another size, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("run")

    class Small(FakePredictor):
        field_size = (48, 64)

    write_image(folder / "in/s1/=a ế.png")
    write_image(folder / "in/s2/b.png", 96, 128)
    (folder / "in/s2/bad.jpg").write_text("nothing")
    write_image(folder / "in/s2/c.png")
    flags = ["--input", folder / "in/**/*.*", "--output", folder / "out", "--no-pictures"]
    assert run(*flags, predictor=Small()) == 1
    return folder / "out"


def recount(tmp_path, content, *more):
    """Rows of the table for the content of a COCO file."""
    corrected = tmp_path / "corrected.json"
    corrected.write_text(json.dumps(content))
    flags = ["--output", str(tmp_path / "again"), "--overwrite", *map(str, more)]
    assert main([str(corrected), *flags]) == 0
    return tmp_path / "again/counts.csv"


def load(counted):
    return json.loads((counted / "detections.json").read_text())


def as_cvat_exports(content):
    """The fields and the order that other programs keep; ids of their own."""
    names = sorted(CLASS_NAMES)
    classes = {c["id"]: names.index(c["name"]) + 1 for c in content["categories"]}
    ids = {image["id"]: 100 - image["id"] for image in content["images"]}
    return {
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
        "images": [
            {
                "id": ids[image["id"]],
                **{key: image[key] for key in ("file_name", "width", "height")},
            }
            for image in reversed(content["images"])
        ],
        "annotations": [
            {
                "id": annotation["id"],
                "image_id": ids[annotation["image_id"]],
                "category_id": classes[annotation["category_id"]],
                "bbox": annotation["bbox"],
                "iscrowd": 0,
            }
            for annotation in content["annotations"]
        ],
    }


def test_an_uncorrected_file_gives_the_same_table(tmp_path, counted):
    expected = (counted / "counts.csv").read_bytes()
    assert recount(tmp_path, load(counted)).read_bytes() == expected
    other = as_cvat_exports(load(counted))
    run_file = counted / "detections.json"
    assert recount(tmp_path, other, "--run", run_file).read_bytes() == expected
    other["images"], other["annotations"] = [], []
    assert recount(tmp_path, other, "--run", run_file).read_bytes() == expected


def differences(before, after):
    """(row, column, before, after) wherever two tables differ."""
    pairs = zip(read_table(before), read_table(after), strict=True)
    return [
        (number, key, old[key], new[key])
        for number, (old, new) in enumerate(pairs)
        for key in old
        if old[key] != new[key]
    ]


def test_each_correction_changes_its_number(tmp_path, counted):
    before = counted / "counts.csv"
    content = load(counted)
    removed = content["annotations"].pop(0)
    assert (removed["image_id"], removed["category_id"]) == (1, 1)
    assert differences(before, recount(tmp_path, content)) == [
        (0, "RBC", "1", "0"),
        (0, "total", "2", "1"),
        (4, "RBC", "3", "2"),
        (4, "total", "6", "5"),
    ]
    content["annotations"].append({"id": 99, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]})
    assert differences(before, recount(tmp_path, content)) == []
    content["annotations"][-1]["category_id"] = 3
    assert [each[:2] for each in differences(before, recount(tmp_path, content))] == [
        (0, "RBC"),
        (0, "Platelets"),
        (4, "RBC"),
        (4, "Platelets"),
    ]


def test_a_class_that_a_person_added_has_a_column(tmp_path, counted):
    content = load(counted)
    content["categories"].append({"id": 9, "name": "Sickle"})
    content["annotations"][0]["category_id"] = 9
    table = read_table(recount(tmp_path, content))
    assert list(table[0])[:8] == ["file", "status", *CLASS_NAMES, "Sickle", "total", "diameter"]
    assert table[0]["Sickle_low"] == ""  # a person's counts have no interval
    assert (table[0]["RBC"], table[0]["Sickle"], table[0]["total"]) == ("0", "1", "2")


def test_an_image_that_a_person_annotated_is_counted(tmp_path, counted):
    content = load(counted)
    bad = content["not_counted"].pop()
    content["images"].append(
        {"id": bad["id"], "file_name": bad["file_name"], "width": 9, "height": 9}
    )
    content["annotations"].append(
        {"id": 99, "image_id": bad["id"], "category_id": 2, "bbox": [1, 2, 3, 4]}
    )
    row = read_table(recount(tmp_path, content))[2]
    assert (row["file"], row["status"], row["WBC"]) == ("s2/bad.jpg", "ok", "1")
    again = recount(tmp_path, as_cvat_exports(content), "--run", counted / "detections.json")
    assert read_table(again)[2] == row


def test_regions_of_several_cells_are_noted(tmp_path, counted):
    content = load(counted)
    content["annotations"][0]["iscrowd"] = 1
    row = read_table(recount(tmp_path, content))[0]
    assert row["RBC"] == "0" and row["notes"].startswith("1 regions of several cells")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["images"][0].update(file_name="x.png"), "x.png is not an image of"),
        (lambda c: c["images"][0].update(file_name="s2/c.png"), "two images are called s2/c.png"),
        (lambda c: c.pop("images"), "this is not COCO detection JSON"),
        (lambda c: c["annotations"][0].update(category_id=7), "category_id 7 is not listed"),
        (lambda c: c["annotations"][0].update(bbox=[5, 5, -3, 4]), "annotation 1: its box has no"),
        (lambda c: c["annotations"][0].update(bbox=[5, 5, 3, 0]), "annotation 1: its box has no"),
    ],
)
def test_what_cannot_be_counted_is_refused(tmp_path, counted, capsys, change, message):
    content = load(counted)
    change(content)
    corrected = tmp_path / "corrected.json"
    corrected.write_text(json.dumps(content))
    run_file = str(counted / "detections.json")
    again = str(tmp_path / "again")
    assert main([str(corrected), "--run", run_file, "--output", again]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "again/counts.csv").exists()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("counted", "is a folder: name {}/counted/detections.json"),
        (".", "holds no annotations in a format that is read"),
        ("gone.json", "{}/gone.json does not exist: name detections.json of bccd count"),
    ],
)
def test_what_is_no_file_is_named_with_the_one_to_name(tmp_path, capsys, named, message):
    (tmp_path / "counted").mkdir()
    (tmp_path / "counted/detections.json").write_text("{}")
    assert main([str(tmp_path / named), "-o", str(tmp_path / "again")]) == 2
    assert message.format(tmp_path) in capsys.readouterr().err


def test_an_older_table_is_not_replaced_without_a_word(tmp_path, counted, capsys):
    corrected, output = str(counted / "detections.json"), ["--output", str(counted)]
    before = (counted / "counts.csv").read_bytes()
    assert main([corrected, *output]) == 2
    assert "counts.csv is there already" in capsys.readouterr().err
    assert main([corrected, *output, "--overwrite", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["counts"] == {"RBC": 3, "WBC": 3, "Platelets": 0} and found["not_counted"] == 1
    assert (counted / "counts.csv").read_bytes() == before


def test_the_scale_of_a_run_is_in_the_table_again(tmp_path, counted):
    content = load(counted)
    for image in content["images"]:
        image |= {"red_cell_diameter": 98.7, "scale": "measured"}
    run_file = tmp_path / "run.json"
    run_file.write_text(json.dumps(content))
    for corrected, more in ((content, ()), (as_cvat_exports(content), ("--run", run_file))):
        table = recount(tmp_path, corrected, *more).read_text(encoding="utf-8-sig")
        assert table.count('98.7,"measured"') == len(content["images"])
