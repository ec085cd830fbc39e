import io
import os
import struct
import threading
import zlib

import cv2
import numpy as np
import pytest
from disc_detector import draw_field

from bccd.study import Study, StudyError
from bccd.study.names import check_model_name, clean_file_name
from bccd.study.uploads import UploadLimits, Uploads


@pytest.fixture
def study(tmp_path):
    with Study.open(tmp_path / "study", create=True) as study:
        yield study


def png(rows=3, columns=4, diameter=30):
    return cv2.imencode(".png", draw_field(rows, columns, diameter))[1].tobytes()


def bomb(width, height):
    """A PNG of so many pixels whose file is small, and has no more pixels than a line."""

    def chunk(kind, content):
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    line = zlib.compress(bytes(3 * min(width, 1000) + 1))
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), chunk(b"IDAT", line), chunk(b"IEND", b"")]
    )


def files(study):
    return sorted(path.name for path in (study.folder / "images").iterdir())


def test_a_dropped_image_is_a_field(study):
    uploads = Uploads(study)
    (field,) = uploads.receive("Mẫu 1.png", png(), "Lan")
    row = study.field(field).row
    assert row.name == "Mẫu 1.png" and row.width and row.status == "new"
    assert len(study.thumbnail(field)) > 100
    with pytest.raises(StudyError, match="in the study already"):
        uploads.receive("Mẫu 1.png", png(), "Lan")
    # Another image of the same name, which cameras give, is another field.
    (other,) = uploads.receive("Mẫu 1.png", io.BytesIO(png(4)), "Lan")
    assert other != field and len(files(study)) == 2


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("field.png", "field.png"),
        ("../../etc/passwd.png", "passwd.png"),
        ("..\\..\\windows\\a.png", "a.png"),
        ("/etc/cron.d/a.png", "a.png"),
        ("a\0b\n.png", "a_b_.png"),
        ("\u202egnp.exe", "_gnp.exe"),
        ("<img src=x onerror=alert(1)>.png", "_img src=x onerror=alert(1)_.png"),
        (".bashrc.png", "bashrc.png"),
        ("CON.png", "_CON.png"),
        ("a#2.png", "a_2.png"),
        ("ô" * 300 + ".png", None),
        ("a." + "b" * 300, None),
        ("\udcff\ud800a.png", "__a.png"),
    ],
)
def test_names_are_cleaned(study, name, clean):
    found = clean_file_name(name)
    assert clean is None or found == clean
    assert len(found.encode()) <= 200 and "/" not in found and found.isprintable()
    if clean is None or clean.endswith(".png"):
        (field,) = Uploads(study).receive(name, png(), "Lan")
        path = study.source(field).path
        assert path.parent == (study.folder / "images").resolve()


@pytest.mark.parametrize("name", ["", "..", "/", ".", "...", "\\", "a/", " ", "___", "\ud800.png"])
def test_a_name_without_anything_is_refused(study, name):
    with pytest.raises(StudyError, match="no name that can be kept"):
        Uploads(study).receive(name, png(), "Lan")
    assert files(study) == []


@pytest.mark.parametrize("name", ["../x", "a b", "", "-x", "a" * 61, "x\n", None])
def test_names_of_models_are_plain(name):
    with pytest.raises(StudyError):
        check_model_name(name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\nno image", "unreadable"),
        (b"<svg onload=alert(1)>", "unreadable"),
        (b"MZ" + bytes(5000), "unreadable"),
        (png()[:200], "unreadable"),
        (cv2.imencode(".jpg", draw_field(9, 12, 30))[1].tobytes()[:-3000], None),
        (bomb(60_000, 60_000), "megapixels"),
        (bomb(2**31 - 1, 2**31 - 1), "unreadable"),
    ],
)
def test_what_is_no_image_leaves_nothing(study, content, reason):
    uploads = Uploads(study)
    if reason is None:  # a header says what it is; its end is missed when it is counted
        (field,) = uploads.receive("a.png", content, "Lan")
        with pytest.raises(StudyError, match="unreadable"):
            study.thumbnail(field)
        return
    with pytest.raises(StudyError, match=reason):
        uploads.receive("a.png", content, "Lan")
    assert files(study) == [] and study.fields().total == 0


def test_the_pixels_of_a_bomb_are_never_unpacked(study):
    uploads = Uploads(study, UploadLimits(pixels=10_000))
    with pytest.raises(StudyError, match="more than 0 megapixels"):
        uploads.receive("a.png", png(), "Lan")


def test_an_endless_upload_ends_at_its_limit(study):
    uploads = Uploads(study, UploadLimits(bytes=2**20))
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 2**16
            yield bytes(2**16)

    with pytest.raises(StudyError, match="more than 1 MiB"):
        uploads.receive("a.png", endless(), "Lan")
    assert taken <= 2**20 + 2**16 and files(study) == []


def test_number_and_bytes_of_all_uploads_are_bounded(study):
    uploads = Uploads(study, UploadLimits(files=2))
    uploads.receive("1.png", png(2), "Lan")
    uploads.receive("2.png", png(3), "Lan")
    with pytest.raises(StudyError, match="as many dropped files"):
        uploads.receive("3.png", png(4), "Lan")
    with pytest.raises(StudyError, match="as many dropped files"):  # after a restart, too
        Uploads(study, UploadLimits(files=2)).receive("3.png", png(4), "Lan")
    with pytest.raises(StudyError, match="as many dropped files"):
        Uploads(study, UploadLimits(total=1000)).receive("3.png", png(4), "Lan")
    assert len(files(study)) == 2


def test_many_uploads_at_once_are_bounded(study):
    uploads, go, started = Uploads(study, UploadLimits(at_once=1)), threading.Event(), []

    def slow():
        started.append(True)
        go.wait(30)
        yield png()

    thread = threading.Thread(target=uploads.receive, args=("1.png", slow(), "Lan"))
    thread.start()
    while not started:
        pass
    with pytest.raises(StudyError, match="drop fewer at once"):
        uploads.receive("2.png", png(4), "Lan")
    go.set()
    thread.join()
    uploads.receive("2.png", png(4), "Lan")
    assert study.fields().total == 2


def test_a_folder_of_uploads_that_is_a_link_is_refused(study, tmp_path):
    (study.folder / "images").symlink_to(tmp_path)
    with pytest.raises(StudyError, match="is a link"):
        Uploads(study)


def test_what_a_kill_left_half_written_is_removed(study):
    uploads = Uploads(study)
    (study.folder / "images" / ".upload-1.png").write_bytes(b"half")
    uploads.receive("1.png", png(), "Lan")
    Uploads(study)
    assert len(files(study)) == 1


@pytest.mark.parametrize("how", ["outside", "dots", "link", "linked folder", "null", "missing"])
def test_no_file_outside_of_the_folders_is_read(study, tmp_path, how):
    allowed, secret = tmp_path / "allowed", tmp_path / "secret"
    allowed.mkdir()
    secret.mkdir()
    (secret / "a.png").write_bytes(png())
    (allowed / "link.png").symlink_to(secret / "a.png")
    (allowed / "below").symlink_to(secret)
    study.allow_folder(allowed)
    path = {
        "outside": secret / "a.png",
        "dots": f"{allowed}/../secret/a.png",
        "link": allowed / "link.png",
        "linked folder": allowed / "below" / "a.png",
        "null": f"{allowed}/a\0.png",
        "missing": allowed / "nothing.png",
    }[how]
    added = study.add([path], "Lan")
    assert added.ids == []
    assert how == "missing" or "outside" in added.refused[0][1] or "null" in added.refused[0][1]
    # Nor by the folder that holds the links.
    assert study.add([allowed], "Lan").ids == []


def test_a_file_that_became_a_link_is_not_read(study, tmp_path):
    allowed, secret = tmp_path / "allowed", tmp_path / "secret.png"
    allowed.mkdir()
    secret.write_bytes(png())
    (allowed / "a.png").write_bytes(png())
    study.allow_folder(allowed)
    (field,) = study.add([allowed / "a.png"], "Lan").ids
    os.replace(allowed / "a.png", tmp_path / "moved.png")
    (allowed / "a.png").symlink_to(secret)
    with pytest.raises(StudyError, match="lies outside"):
        study.thumbnail(field)


def test_noise_is_no_image(study):
    uploads, random = Uploads(study), np.random.default_rng(0)
    for suffix in ("png", "tif", "jpg", "gif", "webp", "svs"):
        with pytest.raises(StudyError):
            uploads.receive(f"a.{suffix}", random.bytes(3000), "Lan")
    assert files(study) == []
