"""What demo.py does with an image that fails, and with an error that is not an image's."""

import errno
import json
import logging
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from demo_runs import names, rows, run, write_image
from fake_predictor import FakePredictor

from bccd.counting import pictures as drawing

THIN = 7  # height of the image that fails


class Picky(FakePredictor):
    """Fails with ``error`` at one stage: on thin images, or on all."""

    identity = "picky"

    def __init__(self, stage="", error=None, everywhere=False):
        super().__init__()
        self.stage, self.error, self.everywhere = stage, error, everywhere

    def prepare(self, image):
        self._fail("prepare", image)
        return image

    def detect(self, image):
        self._fail("detect", image)
        return super().detect(image)

    def _fail(self, stage, image):
        if stage == self.stage and (self.everywhere or image.shape[0] == THIN):
            raise self.error


def flags_of(tmp_path):
    """Flags of a run over a good image, a thin one, and a good one."""
    for name, height in (("a", 40), ("b", THIN), ("c", 42)):
        write_image(tmp_path / f"in/{name}.png", height)
    return ["--input", tmp_path / "in", "--output", tmp_path / "out"]


@pytest.mark.parametrize(
    ("stage", "error", "status"),
    [
        ("prepare", ValueError("height and width must be > 0"), "cannot be resized: height and"),
        ("detect", RuntimeError("kernel size\nand more"), "detection failed: kernel size"),
        ("detect", AssertionError(), "detection failed: AssertionError"),
        ("detect", MemoryError(), "detection failed: not enough memory"),
        ("detect", torch.OutOfMemoryError("CUDA out of memory"), "detection failed: CUDA out of"),
    ],
)
def test_an_image_that_fails_is_skipped_and_tried_again(tmp_path, stage, error, status, caplog):
    flags = flags_of(tmp_path)
    assert run(*flags, predictor=Picky(stage, error)) == 1
    table = rows(tmp_path / "out")
    assert [row[5] for row in table] == ["2", "", "2", "4"]
    assert table[1][1].startswith(status)
    assert "1 of 3 images could not be counted" in caplog.messages[-1]
    assert f"b.png: {status}" in caplog.messages[-1]

    again = Picky(stage, error)
    assert run(*flags, predictor=again) == 1
    good = [image for image in again.images if image.shape[0] in (40, 42)]
    assert not good and rows(tmp_path / "out") == table
    assert run(*flags, predictor=Picky()) == 0
    assert [row[1] for row in rows(tmp_path / "out")] == ["ok", "ok", "ok", "total"]


@pytest.mark.parametrize("stage", ["prepare", "detect"])
@pytest.mark.parametrize(
    "error", [AttributeError("no attribute"), torch.OutOfMemoryError("CUDA out of memory")]
)
def test_an_error_that_every_image_would_have_ends_the_run(tmp_path, stage, error):
    with pytest.raises(type(error)):
        run(*flags_of(tmp_path), predictor=Picky(stage, error, everywhere=True))
    assert {row[1] for row in rows(tmp_path / "out")[:-1]} == {
        "not done yet: start the same command again"
    }


def test_an_interruption_ends_the_run(tmp_path, capsys):
    flags = flags_of(tmp_path)
    assert run(*flags, predictor=Picky("detect", KeyboardInterrupt())) == 130
    assert "start the same command again" in capsys.readouterr().err
    assert [row[1][:8] for row in rows(tmp_path / "out")] == ["ok", "not done", "not done", "total"]


def test_an_image_that_cannot_be_drawn_is_skipped(tmp_path, monkeypatch):
    draw = drawing.draw_detections

    def draw_all_but_thin(image, *args, **options):
        if image.shape[0] == THIN:
            raise ValueError("Image size is too large")
        return draw(image, *args, **options)

    monkeypatch.setattr(drawing, "draw_detections", draw_all_but_thin)
    flags = flags_of(tmp_path)
    assert run(*flags) == 1
    assert rows(tmp_path / "out")[1][1] == "cannot be drawn: Image size is too large"
    assert run(*flags, "--no-pictures") == 0

    def draw_nothing(*args, **options):
        raise ValueError("no font")

    monkeypatch.setattr(drawing, "draw_detections", draw_nothing)
    with pytest.raises(ValueError, match="no font"):
        run(*flags[:2], "--output", tmp_path / "other")


def test_a_name_too_long_for_a_picture_is_the_images_and_a_full_disk_is_not(tmp_path, monkeypatch):
    for name in ("a" * 251 + ".jpg", "a" * 251 + ".png", "z.png"):  # their pictures: *.jpg.png
        write_image(tmp_path / "in" / name)
    flags = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
    assert run(*flags) == 1
    status = [row[1] for row in rows(tmp_path / "out")]
    assert status == [*["its picture cannot be written: File name too long"] * 2, "ok", "total"]

    def write(path, picture):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(drawing, "write_png", write)
    with pytest.raises(OSError, match="No space left"):
        run(*flags[:2], "--output", tmp_path / "other")


def bomb():
    """A PNG that says it has 3.6 gigapixels."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_a_folder_of_unreadable_files_has_a_row_for_each_and_no_results(tmp_path, caplog):
    folder = tmp_path / "in"
    whole = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (64, 64, 3)))[1]
    contents = {
        "bomb.png": bomb(),
        "cut.jpg": whole.tobytes()[:700],
        "empty.jpg": b"",
        "page.jpg": b"<html>not found</html>",
    }
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with caplog.at_level(logging.INFO):
        assert run("--input", folder, "--output", tmp_path / "out") == 1
    assert "No image was counted" in caplog.text
    assert "The results are in" not in caplog.text
    table = rows(tmp_path / "out")
    assert names(tmp_path / "out") == sorted(contents)
    assert all(row[1].startswith("unreadable: ") and row[2:] == [""] * 15 for row in table[:-1])
    assert not any(str(tmp_path) in row[1] for row in table)
    assert table[-1][2:] == ["0"] * 4 + [""] * 10 + ["4 of 4 images are not counted"]


def test_files_that_go_away_while_it_runs_have_their_rows(tmp_path):
    flags = flags_of(tmp_path)

    class Deleting(FakePredictor):
        def prepare(self, image):
            if image.shape[0] == 40:  # before the next is read
                (tmp_path / "in/a.png").unlink()
                (tmp_path / "in/b.png").unlink()
            return image

    assert run(*flags, predictor=Deleting()) == 1
    status = {row[0]: row[1] for row in rows(tmp_path / "out")}
    assert status["a.png"] == status["c.png"] == "ok"
    assert status["b.png"] == "unreadable: No such file or directory"


def test_a_file_that_may_not_be_read_has_a_row_and_a_folder_ends_with_2(tmp_path, monkeypatch):
    flags = flags_of(tmp_path)

    def refuse(path, *args, opener=open, **options):
        if str(path).endswith("b.png"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opener(path, *args, **options)

    monkeypatch.setattr("builtins.open", refuse)
    assert run(*flags) == 1
    assert [row[1] for row in rows(tmp_path / "out")[:-1]] == [
        "ok",
        "unreadable: Permission denied",
        "ok",
    ]

    def refuse_folder(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse_folder)
    with pytest.raises(SystemExit) as stop:
        run(*flags)
    assert stop.value.code == 2


def test_what_is_left_out_of_a_folder_makes_the_status_1(tmp_path, caplog):
    write_image(tmp_path / "in/a.png")
    (tmp_path / "in/slide.czi").write_bytes(b"ZISRAWFILE")
    assert run("--input", tmp_path / "in", "--output", tmp_path / "out") == 1
    assert "slide.czi" in caplog.messages[-1]


def test_a_name_that_is_no_text_is_counted_like_any_other(tmp_path):
    folder = tmp_path / "in"
    path = write_image(folder / "a.png")
    os.rename(path, os.path.join(os.fsencode(folder), b"caf\xe9.png"))
    (folder / os.fsdecode(b"\xff.jpg")).write_bytes(b"")
    assert run("--input", folder, "--output", tmp_path / "out") == 1
    assert [(row[0], row[1][:10]) for row in rows(tmp_path / "out")[:-1]] == [
        (r"caf\udce9.png", "ok"),
        (r"\udcff.jpg", "unreadable"),
    ]
    (image,) = json.loads((tmp_path / "out/detections.json").read_text())["images"]
    assert image["file_name"] == r"caf\udce9.png"  # strict parsers refuse half a character


def test_counts_beyond_what_the_detector_knows_carry_notes(tmp_path, caplog, monkeypatch):
    titles, draw = [], drawing.draw_detections

    def remember(image, *found, title, **options):
        titles.append(title)
        return draw(image, *found, title=title, **options)

    monkeypatch.setattr(drawing, "draw_detections", remember)

    class Small(FakePredictor):
        field_size, max_detections = (48, 64), 4

    write_image(tmp_path / "in/large.png", 96, 128)
    write_image(tmp_path / "in/usual.png")
    grey = write_image(tmp_path / "grey.png", color=(180, 180, 180))
    assert run("--input", grey, "--output", tmp_path / "other", predictor=Small()) == 0
    assert rows(tmp_path / "other")[0][-1].startswith("a grey image")
    flags = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
    caplog.clear()
    assert run(*flags, predictor=Small()) == 0
    large, usual, total = (row[-1] for row in rows(tmp_path / "out"))
    assert large.startswith("128 x 96 pixels, but the detector was trained on images of about 64 x")
    assert {"large.png, see its notes", "usual.png"} <= set(titles)
    assert usual == "" and total == "1 of the counts should not be trusted"
    assert "1 of 2 counts should not be trusted" in caplog.text

    caplog.clear()
    assert run(*flags, "--confidence-threshold", "0.1", predictor=Small()) == 0
    assert rows(tmp_path / "out")[1][-1].startswith("4 detections are the most")
    assert "2 of 2 counts should not be trusted" in caplog.text
