"""Which images demo.py counts: folders, patterns, pages, and what is left out."""

import cv2
import numpy as np
import pytest
from demo_runs import exit_status, names, run, write_image
from detectron2.utils.logger import setup_logger
from fake_predictor import FakePredictor
from PIL import Image

from bccd.counting.inputs import find_images, picture_names
from bccd.data.images.decoding import read_bgr
from bccd.data.images.image_source import ImageSource

setup_logger(distributed_rank=0, name="bccd")  # before caplog looks for such loggers


def test_same_names_do_not_overwrite_each_other(tmp_path):
    files = [write_image(tmp_path / name) for name in ("s1/1.jpg", "s2/1.jpg", "s2/1.png")]
    out = tmp_path / "out"
    assert run("--input", *files, "--output", out) == 0
    assert len(list(out.rglob("*.png"))) == 3
    assert names(out) == ["s1/1.jpg", "s2/1.jpg", "s2/1.png"]


def test_a_second_run_into_the_same_folder_counts_no_picture_of_the_first(tmp_path, capsys):
    write_image(tmp_path / "in/a.jpg")
    folder = tmp_path / "in"
    assert run("--input", folder, "--output", folder / "found") == 0
    first = (folder / "found/counts.csv").read_text()
    assert run("--input", folder, "--output", folder / "found") == 0
    assert (folder / "found/counts.csv").read_text() == first
    assert run("--input", f"{folder}/**/*.[jp][pn]g", "--output", tmp_path / "other") == 0
    assert (tmp_path / "other/counts.csv").read_text() == first
    for _ in range(2):
        assert exit_status("--input", folder, "--output", folder) == 2
        assert "name another folder" in capsys.readouterr().err
    assert sorted(path.name for path in folder.iterdir()) == ["a.jpg", "found"]


def test_pictures_of_an_older_run_are_named(tmp_path, caplog):
    out = tmp_path / "out"
    old, new = write_image(tmp_path / "a.png"), write_image(tmp_path / "b.png")
    assert run("--input", old, "--output", out) == 0
    write_image(out / "photograph.png")
    assert "of other runs" not in caplog.text
    for more in ([], ["--no-pictures"]):
        caplog.clear()
        assert run("--input", new, "--output", out, *more) == 0
        assert f"{out} also holds {1 + len(more)} pictures of other runs, such as a.png: " in (
            caplog.text
        )
        assert names(out) == ["b.png"]


def test_pages_are_rows_and_pictures_of_their_own(tmp_path):
    pages = [np.full((48, 64, 3), level, np.uint8) for level in (100, 200)]
    cv2.imwritemulti(str(tmp_path / "two.tif"), pages)
    out, predictor = tmp_path / "out", FakePredictor()
    assert run("--input", tmp_path / "two.tif", "--output", out, predictor=predictor) == 0
    assert names(out) == ["two.tif#1", "two.tif#2"]
    assert [image.mean() for image in predictor.images] == [100, 200]
    assert sorted(path.name for path in out.glob("*.png")) == ["two#1.png", "two#2.png"]


def test_what_is_left_out_of_a_folder_is_named_last_and_fails(tmp_path, caplog):
    write_image(tmp_path / "in/a.jpg")
    write_image(tmp_path / "in/more/b.jpg")
    assert run("--input", tmp_path / "in", "--output", tmp_path / "out") == 1
    assert names(tmp_path / "out") == ["a.jpg"]
    assert caplog.messages[-1].startswith(f"Left out: {tmp_path}/in/more (a subfolder")


def test_a_video_among_images_is_to_be_named_by_its_own_flag(tmp_path, caplog):
    write_image(tmp_path / "in/a.jpg")
    (tmp_path / "in/b.MP4").write_bytes(b"nothing")
    assert run("--input", tmp_path / "in", "--output", tmp_path / "out") == 1
    assert caplog.messages[-1].endswith("in/b.MP4 (a video; count it alone, with --video-input)")


def test_a_picture_of_this_project_is_no_image_to_count(tmp_path, capsys):
    image = write_image(tmp_path / "in/a.png")
    assert run("--input", image, "--output", tmp_path / "out") == 0
    assert exit_status("--input", tmp_path / "out/a.png", "--output", tmp_path / "again") == 2
    assert f"{tmp_path}/out/a.png is no image to count" in capsys.readouterr().err


def test_finds_files_folders_and_globs_each_once(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", "deep/c.tif", "odd[1].jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(*patterns):
        return [path.name for path in find_images([str(tmp_path / p) for p in patterns]).images]

    assert names("") == ["a.png", "b.JPG", "odd[1].jpg"]
    assert names("b.JPG", "", "a.*") == ["b.JPG", "a.png", "odd[1].jpg"]
    assert names("**/*.tif") == ["c.tif"]
    assert names("odd[1].jpg") == ["odd[1].jpg"]
    with pytest.raises(FileNotFoundError, match="Subfolders are not entered"):
        (tmp_path / "outer/inner").mkdir(parents=True)
        names("outer")


def test_picture_names_are_distinct_and_relative(tmp_path):
    files = [ImageSource(tmp_path / "a/1.jpg"), ImageSource(tmp_path / "b/1.jpg")]
    assert [str(name) for name in picture_names(files)] == ["a/1.png", "b/1.png"]
    files = [ImageSource(tmp_path / name) for name in ("x.jpg", "x.tif", "x.jpg.png")]
    assert len(set(picture_names(files))) == 3


def test_reads_every_kind_of_image_as_8_bit_bgr(tmp_path):
    grey = np.linspace(0, 4095, 12 * 16).reshape(12, 16)
    cv2.imwrite(str(tmp_path / "deep.tif"), grey.astype(np.uint16))
    deep = read_bgr(tmp_path / "deep.tif")
    assert deep.dtype == np.uint8 and deep.shape == (12, 16, 3)
    np.testing.assert_allclose(deep[..., 1], grey / 4095 * 255, atol=1)

    cv2.imwrite(str(tmp_path / "grey.png"), (grey / 16).astype(np.uint8))
    np.testing.assert_array_equal(read_bgr(tmp_path / "grey.png")[..., 2], grey // 16)

    rgba = np.zeros((4, 6, 4), dtype=np.uint8)
    rgba[:, :3] = (255, 0, 0, 255)
    Image.fromarray(rgba).save(tmp_path / "clear.png")
    clear = read_bgr(tmp_path / "clear.png")
    assert clear[0, 0].tolist() == [0, 0, 255] and clear[0, 5].tolist() == [255, 255, 255]

    turned = Image.fromarray(rgba[..., :3])
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    assert read_bgr(tmp_path / "turned.png").shape == (6, 4, 3)
