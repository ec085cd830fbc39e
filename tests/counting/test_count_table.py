import csv

import pytest

from bccd.counting.count_table import CountTable, class_columns, read_table
from bccd.counting.detection_files import relative_names

NAMES = (
    "Tế bào máu.jpg",
    'a "quoted", name.jpg',
    "two\nlines.jpg",
    "=cmd|' /C calc'!A0.jpg",
    "+1.jpg",
    "-1.jpg",
    "@sum.jpg",
    "＝1.jpg",
    "\t=1.jpg",
    " =1.jpg",
    "x;=1.jpg",
    'x";=1.jpg',
    "x\t=1.jpg",
    "total",
)


@pytest.fixture
def table(tmp_path):
    with CountTable(tmp_path / "counts.csv", ["RBC", "WBC"]) as writer:
        for name in NAMES:
            writer.add(name, {"RBC": 1})
        writer.skip("bad.jpg", 'unreadable: "x";=1\n+2')
    return tmp_path / "counts.csv"


def test_any_name_comes_back(table):
    assert table.read_bytes().startswith(b"\xef\xbb\xbf")
    found = [row["file"] for row in read_table(table)]
    assert [name.removeprefix("./") for name in found] == [*NAMES, "bad.jpg", ""]
    assert [row["RBC"] for row in read_table(table)] == ["1"] * len(NAMES) + ["", str(len(NAMES))]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_spreadsheet_runs_a_name(table, delimiter):
    with open(table, encoding="utf-8-sig", newline="") as file:
        cells = [cell.strip() for row in csv.reader(file, delimiter=delimiter) for cell in row]
    assert len(cells) > len(NAMES)
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@＝"))]


def test_the_totals_are_no_image_of_that_name(table):
    rows = read_table(table)
    assert [(row["file"], row["status"]) for row in rows if row["status"] == "total"] == [
        ("", "total")
    ]
    assert rows[-1]["notes"] == f"1 of {len(NAMES) + 1} images are not counted"


def test_names_are_relative_to_what_the_images_share(tmp_path, monkeypatch):
    files = [tmp_path / "a/1.jpg", tmp_path / "a/b/2.tif#3"]
    assert relative_names(files) == ["1.jpg", "b/2.tif#3"]
    monkeypatch.chdir(tmp_path)
    assert relative_names(["a/../a/1.jpg", tmp_path / "c/2.jpg"]) == ["a/1.jpg", "c/2.jpg"]
    assert relative_names([tmp_path / "1.jpg"]) == ["1.jpg"]


CONFUSING = ("RBC", "RBC_low", "total", "class total", "file", "=1+2", "a;b", "a,b", "notes")


def test_no_class_takes_the_column_of_another(tmp_path):
    counts = {name: 10 + k for k, name in enumerate(CONFUSING)}
    with CountTable(tmp_path / "counts.csv", CONFUSING) as table:
        table.add("field.jpg", counts, ["A note"])
    columns = class_columns(CONFUSING)
    assert columns[:5] == ["RBC", "class RBC_low", "class class total", "class total", "class file"]
    row, _ = read_table(tmp_path / "counts.csv")
    assert [int(row[column]) for column in columns] == list(counts.values())
    assert row["file"] == "field.jpg" and row["notes"] == "A note"
    assert int(row["total"]) == sum(counts.values())
    assert not [column for column in row if column.startswith("=") or ";" in column]
