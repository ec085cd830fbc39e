import csv
import json
import re
import zipfile

import cv2
import numpy as np
import pypdfium2
import pytest
from openpyxl import load_workbook
from studies import count, draw, new_study

from bccd.counting.recount import read_counts
from bccd.data.images.own_pictures import is_marked
from bccd.study import Study, StudyError, results
from bccd.study.field_state import Box
from bccd.study.report.words import LANGUAGES, Words
from bccd.study.results.comparison import match
from bccd.study.retraining import write_fields

EVIL = "=cmd <script>alert(1)<script> & 'x'.png"


@pytest.fixture
def corrected(tmp_path, detector):
    """Three fields: one accepted after two corrections, two counted, one of an evil name."""
    with new_study(tmp_path, 2) as study:
        path = draw(tmp_path / "evil")[0].rename(tmp_path / "evil" / EVIL)
        study.allow_folder(tmp_path / "evil")
        study.add([path], "Lan")
        count(study)
        first = study.fields().rows[0].id
        boxes = study.field(first).boxes
        changes = [
            {"do": "delete", "id": boxes[0].id},
            {"do": "class", "id": boxes[1].id, "name": "WBC"},
            {"do": "add_region", "name": "left", "vertices": [[0, 0], [99, 0], [99, 99]]},
        ]
        study.edit(first, "Minh", changes, study.field(first).row.version)
        study.edit(first, "Minh", [{"do": "accept"}], study.field(first).row.version)
        yield study


def written(study, kind, tmp_path, **options):
    path = tmp_path / f"results.{kind}"
    results.write(study, kind, path, **options)
    assert sorted(each.name for each in tmp_path.glob(".*")) == []
    return path


def test_the_table_has_all_fields(corrected, tmp_path):
    path = written(corrected, "csv", tmp_path)
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["RBC"] for row in rows] == ["10", "12", "12"]
    first, second, third = rows
    assert (first["WBC"], first["RBC_model"], first["corrections"]) == ("1", "12", "2")
    assert first["reviewed_by"] == "Minh" and first["RBC_low"] == ""
    assert int(second["RBC_low"]) <= 12 <= int(second["RBC_high"])
    assert third["file"] == f"./{EVIL}"  # no formula


def test_the_workbook_says_the_same(corrected, tmp_path):
    book = load_workbook(written(corrected, "xlsx", tmp_path))
    assert book.sheetnames == ["fields", "summary", "agreement", "settings"]
    rows = list(book["fields"].values)
    with open(written(corrected, "csv", tmp_path), encoding="utf-8-sig", newline="") as file:
        table = list(csv.reader(file))
    texts = [["" if value is None else str(value) for value in row] for row in rows]
    assert texts[0] == table[0] and [row[:5] for row in texts] == [row[:5] for row in table]
    cells = [cell for sheet in book for row in sheet for cell in row]
    assert all(cell.data_type != "f" for cell in cells)
    summary = {(row[0], row[1]): row[2] for row in book["summary"].values}
    assert summary["RBC", "in all fields"] == 34
    assert summary["RBC", "per field"] == pytest.approx(34 / 3, rel=1e-4)


def test_json_has_everything(corrected, tmp_path):
    found = json.loads(written(corrected, "json", tmp_path).read_text(encoding="utf-8"))
    field = found["fields"][0]
    assert field["counts"] == {"RBC": 10, "WBC": 1, "Platelets": 0}
    assert len(field["boxes"]) == 11 and field["regions"][0]["name"] == "left"
    assert [entry["who"] for entry in field["log"]] == ["Minh", "Minh"]
    assert found["settings"]["border"] == "all" and found["summary"][0]["value"] > 11


def test_coco_is_what_recount_reads(corrected, tmp_path):
    path = written(corrected, "coco", tmp_path)
    classes, images = read_counts(path)
    assert classes == ["RBC", "WBC", "Platelets"]
    assert [image.counts.get("RBC") for image in images] == [10, 12, 12]
    content = json.loads(path.read_text())
    origins = {entry["made_by"] for entry in content["annotations"]}
    assert origins == {"confirmed", "changed", "detected"}


def test_pictures_are_marked_as_drawn(corrected, tmp_path):
    with zipfile.ZipFile(written(corrected, "pictures", tmp_path)) as archive:
        names = archive.namelist()
        assert len(names) == 3 and not any(".." in name or name[0] == "/" for name in names)
        archive.extractall(tmp_path / "out")
    picture = tmp_path / "out" / "field 0.png.png"
    assert is_marked(picture) and cv2.imread(str(picture)).shape[1] >= 500


def test_some_fields_alone(corrected, tmp_path):
    first = corrected.fields().rows[0].id
    path = written(corrected, "csv", tmp_path, field_ids=[first])
    assert len(path.read_text().splitlines()) == 2
    assert results.summary(corrected, [first]).by_class["RBC"].total == 10


def test_fields_of_different_sizes_are_said_to_be_mixed(tmp_path, detector):
    with new_study(tmp_path, 1) as study:
        count(study)
        assert results.summary(study).size_ratio is None
        study.add(draw(tmp_path / "large", rows=6, columns=8), "Lan")
        study.allow_folder(tmp_path)
        count(study)
        assert results.summary(study).size_ratio == pytest.approx(4, rel=0.2)
        text = written(study, "html", tmp_path).read_text(encoding="utf-8")
        assert "times the area of the smallest" in text


def test_model_and_person_are_compared_on_accepted_fields(corrected):
    found = results.agreement(corrected)
    assert found.fields == 1
    rbc, wbc = found.by_class["RBC"], found.by_class["WBC"]
    assert (rbc.model, rbc.hand, rbc.bias, rbc.low) == (12, 10, 2.0, None)
    assert rbc.precision == pytest.approx(10 / 12) and rbc.recall == 1
    assert wbc.precision is None and wbc.recall == 0 and rbc.points == [(11.0, 2.0)]
    second = corrected.fields().rows[1].id
    corrected.edit(second, "Lan", [{"do": "accept"}], corrected.field(second).row.version)
    rbc = results.agreement(corrected).by_class["RBC"]
    spread = 1.96 * np.std([2, 0], ddof=1)
    assert (rbc.bias, rbc.low, rbc.high) == pytest.approx((1, 1 - spread, 1 + spread))


def test_each_box_is_of_one_pair_at_most():
    def box(x):
        return Box("", "RBC", (x, 0, x + 10, 10), None, "added")

    assert match([box(0), box(1)], [box(0)]) == 1
    assert match([box(0), box(2)], [box(1), box(3)]) == 2
    assert match([box(0)], [box(50)]) == 0 and match([], [box(0)]) == 0


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_html_report_holds_all_it_shows(corrected, tmp_path, language):
    text = written(corrected, "html", tmp_path, language=language).read_text(encoding="utf-8")
    words = Words(language)
    assert f'<html lang="{language}">' in text and words("not_diagnostic") in text
    assert text.count("data:image/jpeg;base64,") == 3
    assert "<script" not in text and "alert(1)" in text  # as text
    assert not re.findall(r'(?:src|href)="(?!data:)', text) and "://" not in text
    for part in ("results", "agreement", "corrected", "all_fields", "model", "settings"):
        assert f"<h2>{words(part)}</h2>" in text
    assert words("delete", name="RBC") in text and "Minh" in text and "ssd_lite" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pdf_report_has_its_letters(corrected, tmp_path, language):
    path = written(corrected, "pdf", tmp_path, language=language)
    document = pypdfium2.PdfDocument(path)
    text = "".join(page.get_textpage().get_text_range() for page in document)
    document.close()
    plain, words = " ".join(text.split()), Words(language)
    assert words("not_diagnostic") in plain and words("agreement") in plain
    assert words("delete", name="RBC") in plain and EVIL.split("&")[0].strip() in plain


def test_a_study_without_anything_has_results(tmp_path):
    with Study.open(tmp_path / "empty", create=True) as study:
        for kind in ("csv", "xlsx", "json", "coco", "html", "pdf", "pictures"):
            assert written(study, kind, tmp_path).stat().st_size
        assert results.summary(study).fields == results.agreement(study).fields == 0
        for wrong in ({"kind": "exe"}, {"kind": "pdf", "language": "xx"}):
            with pytest.raises(StudyError):
                results.write(study, path=tmp_path / "x", **wrong)
        assert not (tmp_path / "x").exists()


def test_accepted_fields_are_written_for_a_training(corrected, tmp_path):
    folder = tmp_path / "training"
    folder.mkdir()
    write_fields(corrected, folder)
    content = json.loads((folder / "fields.json").read_text())
    (image,) = content["images"]
    assert len(content["annotations"]) == 11
    pixels = cv2.imread(str(folder / "images" / image["file_name"]))
    assert pixels.shape[:2] == (image["height"], image["width"])
