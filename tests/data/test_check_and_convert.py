"""``bccd check`` and ``bccd convert``."""

import json
import shutil

import pytest
from layouts import CLASSES, pictures, roboflow_jpg, voc_labelimg, yolo_roboflow

from bccd import cli, console
from bccd.data.formats.conversion import FORMATS
from bccd.data.formats.registry import read_dataset


def test_check_reports_on_screen_as_json_and_in_a_file(tmp_path, capsys):
    voc_labelimg(tmp_path / "data")
    assert cli.main(["check", str(tmp_path / "data")]) == console.DONE
    printed = capsys.readouterr().out
    assert "3 images (Pascal VOC)" in printed and "2 Blast, 1 Lymphocyte" in printed
    assert "The data can be used." in printed

    pictures(tmp_path / "data", "late_{}.jpg")
    report_file = tmp_path / "report.json"
    command = ["check", str(tmp_path / "data"), "--report", str(report_file), "--json"]
    assert cli.main(command) == console.INCOMPLETE
    report = json.loads(capsys.readouterr().out)
    assert json.loads(report_file.read_text()) == report
    assert report["classes"] == sorted(CLASSES) and not report["usable"]
    kinds = [problem["kind"] for problem in report["problems"]]
    assert kinds.count("image without an annotation") == 3


def test_check_of_a_part_an_archive_and_other_classes(tmp_path, capsys):
    yolo_roboflow(tmp_path / "data")
    assert cli.main(["check", f"yolo:{tmp_path}/data#train"]) == console.DONE
    shutil.make_archive(str(tmp_path / "data"), "zip", tmp_path, "data")
    assert cli.main(["check", str(tmp_path / "data.zip")]) == console.DONE
    assert "val is ../valid/images, which is not there" in capsys.readouterr().out
    data = str(tmp_path / "data")
    assert cli.main(["check", data, "--classes", "Blast"]) == console.INCOMPLETE
    assert "unknown class: 1" in capsys.readouterr().out


@pytest.mark.parametrize("form", FORMATS)
def test_convert(tmp_path, capsys, form):
    roboflow_jpg(tmp_path / "data")
    out = str(tmp_path / "out")
    command = ["convert", str(tmp_path / "data"), f"{form}:{out}"]
    assert cli.main([*command, "--json"]) == console.DONE
    written = json.loads(capsys.readouterr().out)
    assert written.pop("left_out") == []
    assert written == {"format": form, "folder": out, "images": 3, "classes": CLASSES}
    assert len(read_dataset(out, form).images) == 3
    assert cli.main(command) == console.REFUSED
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("form", FORMATS)
def test_what_convert_writes_of_data_without_parts_can_be_used(tmp_path, form):
    voc_labelimg(tmp_path / "data")
    assert cli.main(["convert", f"{tmp_path}/data", f"{form}:{tmp_path}/new"]) == 0
    assert cli.main(["check", f"{tmp_path}/new"]) == console.DONE
    old, new = (read_dataset(tmp_path / folder) for folder in ("data", "new"))
    assert len(new.images) == len(old.images)


def test_convert_refuses_data_with_errors_and_what_is_no_data(tmp_path, capsys):
    roboflow_jpg(tmp_path / "data")
    (tmp_path / "data/train/smear_3.jpg").unlink()
    out = tmp_path / "out"
    for data, message in ((tmp_path / "data", "which is missing"), (tmp_path / "x", "no such")):
        command = ["convert", str(data), f"voc:{out}"]
        assert cli.main(command) == console.REFUSED
        assert message in capsys.readouterr().err and not out.exists()
