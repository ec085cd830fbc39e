"""Which files of a folder are counted, and what is said of the others."""

import shutil

import cv2
import numpy as np
import pytest
import tifffile

from bccd.counting.inputs import find_images, picture_names
from bccd.data.images.image_source import ImageSource
from bccd.data.images.own_pictures import is_marked, mark
from bccd.data.synthetic import load_smears

FIELD = np.full((12, 16, 3), 200, np.uint8)


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), FIELD)
    return path


def draw(path):
    """A picture as the demo writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mark(cv2.imencode(".png", FIELD)[1].tobytes()))
    return path


def names(found):
    return [image.name for image in found.images]


def test_what_is_left_out_of_a_folder_is_named_with_the_reason(tmp_path):
    for name in ("a.jpg", "deep/er/b.jpg", "drawn/notes.txt", "notes.txt", ".hidden/c.jpg"):
        write(tmp_path / name) if name.endswith("jpg") else None
    draw(tmp_path / "drawn/a.png")
    (tmp_path / "notes.txt").write_text("RBC 17")
    (tmp_path / "slide.mrxs").write_text("whatever")
    shutil.copy(tmp_path / "a.jpg", tmp_path / "field")
    planes = {"photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "planes", np.zeros((3, 4, 6), np.uint16), **planes)
    shutil.copy(tmp_path / "a.jpg", tmp_path / "photo.HEIC")  # content decides how it is read
    found = find_images([str(tmp_path)])
    assert names(found) == ["a.jpg", "photo.HEIC"]
    reasons = {path.name: reason for path, reason in found.left_out}
    assert reasons.keys() == {"deep", "field", "planes", "slide.mrxs"}
    assert "name it as well" in reasons["deep"]
    assert "an image without the suffix of one; rename it" in reasons["field"]
    assert "export its fields" in reasons["slide.mrxs"]


def test_what_is_named_beside_its_folder_is_not_left_out(tmp_path):
    write(tmp_path / "a.jpg")
    write(tmp_path / "sub/b.jpg")
    shutil.copy(tmp_path / "a.jpg", tmp_path / "c.scan")
    found = find_images([str(tmp_path), f"{tmp_path}/sub", f"{tmp_path}/c.scan"])
    assert names(found) == ["a.jpg", "b.jpg", "c.scan"] and found.left_out == []


def test_a_folder_without_an_image_says_what_it_holds(tmp_path):
    write(tmp_path / "sub/b.jpg")
    with pytest.raises(FileNotFoundError, match="sub: a subfolder with images"):
        find_images([str(tmp_path)])


def test_files_of_macos_and_drawn_pictures_are_skipped_and_told_once(tmp_path, caplog):
    caplog.set_level("INFO")
    write(tmp_path / "a.jpg")
    for name in ("._a.jpg", "._b.png"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    draw(tmp_path / "a.png")
    draw(tmp_path / "b.png")
    assert names(find_images([str(tmp_path)])) == ["a.jpg"]
    assert names(find_images([f"{tmp_path}/*g", f"{tmp_path}/a.jpg"])) == ["a.jpg"]
    first = caplog.messages[:2]
    assert "Skipped 2 files in which macOS" in first[0] and "._a.jpg" in first[0]
    assert "Skipped 2 pictures that this project drew" in first[1]
    assert find_images([str(tmp_path)]).left_out == []


def test_a_link_to_nothing_is_listed_so_that_it_is_reported(tmp_path):
    for name in ("a.jpg", "b.png"):
        (tmp_path / name).symlink_to(tmp_path / "moved away" / name)
    assert names(find_images([str(tmp_path)])) == ["a.jpg", "b.png"]


def test_the_mark_leaves_the_picture_as_it_is(tmp_path):
    np.testing.assert_array_equal(cv2.imread(str(draw(tmp_path / "a.png"))), FIELD)
    assert is_marked(tmp_path / "a.png") and not is_marked(write(tmp_path / "b.png"))


def test_a_file_of_several_fields_is_an_image_for_each(tmp_path):
    tifffile.imwrite(tmp_path / "two.tif", np.stack((FIELD, FIELD)), photometric="rgb")
    write(tmp_path / "two.jpg")
    images = find_images([str(tmp_path)]).images
    assert [image.name for image in images] == ["two.jpg", "two.tif#1", "two.tif#2"]
    assert [str(name) for name in picture_names(images)] == ["two.png", "two#1.png", "two#2.png"]
    clash = [*images, ImageSource(tmp_path / "two#1.jpg")]
    assert len(set(picture_names(clash))) == 4


def test_a_url_names_an_image(tmp_path, monkeypatch):
    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path))
    url = load_smears(1, seed=1, height=20, width=30)[0]["file_name"]
    assert names(find_images([url])) == ["00000.png"]
