import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from detectron2.utils.logger import setup_logger
from fake_predictor import FakePredictor
from PIL import Image

import demo
from bccd.counting.count_table import read_table
from bccd.counting.inputs import find_images, picture_names
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.images.decoding import read_bgr
from bccd.data.images.image_source import ImageSource

setup_logger(distributed_rank=0, name="bccd")  # before caplog looks for such loggers

SSD_LITE = Path(__file__).parents[1] / "configs/SSD/ssd_lite_bccd.yaml"
ABOUT = ["diameter", "scale", "area_px", "area_mm2", "notes"]
HEADER = ["file", "status", *CLASS_NAMES, "total", *ABOUT]
POINTS = {"RBC": 0.25, "WBC": 0.7, "Platelets": 0.2}


def write_image(path, height=48, width=64, color=(200, 180, 220)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), color, dtype=np.uint8))
    return path


def run(*args, predictor=None):
    return demo.main([str(arg) for arg in args], predictor or FakePredictor())


def rows(folder):
    """Rows of counts.csv as lists, without the header."""
    return [list(row.values()) for row in read_table(folder / "counts.csv")]


def names(folder):
    return [row[0] for row in rows(folder)[:-1]]


def annotations(folder):
    return json.loads((folder / "detections.json").read_text())["annotations"]


def exit_status(*args):
    with pytest.raises(SystemExit) as stop:
        run(*args)
    return stop.value.code


def test_writes_pictures_detections_and_counts(tmp_path):
    write_image(tmp_path / "in/a.jpg")
    write_image(tmp_path / "in/b, c.png", 30, 40)
    out = tmp_path / "out"
    assert run("--input", tmp_path / "in", "--output", out) == 0
    assert list(read_table(out / "counts.csv")[0]) == HEADER
    assert rows(out) == [
        ["a.jpg", "ok", "1", "1", "0", "2", "", "", "3072", "", ""],
        ["b, c.png", "ok", "1", "1", "0", "2", "", "", "1200", "", ""],
        ["", "total", "2", "2", "0", "4", *[""] * 5],
    ]
    detections = annotations(out)
    assert [d["image_id"] for d in detections] == [1, 1, 2, 2]
    assert [d["category_id"] for d in detections] == [1, 2, 1, 2]
    assert [d["score"] for d in detections[:2]] == pytest.approx([0.9, 0.6])
    assert detections[0]["bbox"] == pytest.approx([32, 4.8, 19.2, 14.4], abs=1e-3)
    for name, height, width in (("a.png", 48, 64), ("b, c.png", 30, 40)):
        picture = cv2.imread(str(out / name))
        assert picture.shape[1] % width == 0
        assert picture.shape[0] > height * (picture.shape[1] // width)  # the legend's strip


def test_detections_are_a_coco_file_that_pycocotools_loads(tmp_path):
    from pycocotools.coco import COCO

    write_image(tmp_path / "in/s1/a.jpg")
    write_image(tmp_path / "in/s2/b.jpg", 30, 40)
    out = tmp_path / "out"
    run("--input", tmp_path / "in/**/*.jpg", "--output", out)
    found = COCO(str(out / "detections.json"))
    assert [found.imgs[i]["file_name"] for i in (1, 2)] == ["s1/a.jpg", "s2/b.jpg"]
    assert [(found.imgs[i]["width"], found.imgs[i]["height"]) for i in (1, 2)] == [
        (64, 48),
        (40, 30),
    ]
    assert {c["id"]: c["name"] for c in found.loadCats(found.getCatIds())} == dict(
        enumerate(CLASS_NAMES, start=1)
    )
    assert sorted(found.getAnnIds()) == [1, 2, 3, 4] and len(found.getAnnIds(imgIds=[2])) == 2
    for annotation in annotations(out):
        _, _, width, height = annotation["bbox"]
        assert annotation["area"] == pytest.approx(width * height, abs=1e-3)
        assert annotation["iscrowd"] == 0
    results = found.loadRes(json.loads((out / "detections.json").read_text())["annotations"])
    assert len(results.getAnnIds()) == 4
    assert found.dataset["info"]["threshold"] == dict.fromkeys(CLASS_NAMES, 0.5)


@pytest.mark.parametrize(
    ("points", "flags", "counts"),
    [
        (None, [], ["1", "1", "0", "2"]),
        (POINTS, [], ["2", "0", "1", "3"]),
        (
            {"RBC": 0.25, "WBC": 0.7, "Platelets": 0.2},
            ["--confidence-threshold", "0.95"],
            ["0"] * 4,
        ),
        (None, ["--confidence-threshold", "0"], ["2", "1", "1", "4"]),
    ],
)
def test_thresholds(tmp_path, points, flags, counts):
    image = write_image(tmp_path / "a.jpg")
    out = tmp_path / "out"
    assert run("--input", image, "--output", out, *flags, predictor=FakePredictor(points)) == 0
    assert rows(out)[0][2:6] == counts
    assert len(annotations(out)) == int(counts[-1])


def test_broken_image_is_skipped_named_and_fails_at_the_end(tmp_path, caplog):
    write_image(tmp_path / "in/a.jpg")
    (tmp_path / "in/broken.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    whole = write_image(tmp_path / "in/cut.png", 400, 400).read_bytes()
    (tmp_path / "in/cut.png").write_bytes(whole[: len(whole) // 2])
    write_image(tmp_path / "in/z.jpg")
    out = tmp_path / "out"
    assert run("--input", tmp_path / "in", "--output", out) == 1
    table = rows(out)
    assert [row[0] for row in table] == ["a.jpg", "broken.jpg", "cut.png", "z.jpg", ""]
    assert [row[1].split(":")[0] for row in table] == ["ok", *["unreadable"] * 2, "ok", "total"]
    assert [row[2:] for row in table[1:3]] == [[""] * 9] * 2
    assert table[-1][2:] == ["2", "2", "0", "4", *[""] * 4, "2 of 4 images are not counted"]
    assert str(tmp_path) not in (out / "counts.csv").read_text()
    skipped = json.loads((out / "detections.json").read_text())["not_counted"]
    assert [(entry["id"], entry["file_name"]) for entry in skipped] == [
        (2, "broken.jpg"),
        (3, "cut.png"),
    ]
    assert not (out / "broken.png").exists() and not (out / "cut.png").exists()
    last = caplog.messages[-1]
    assert "broken.jpg" in last and "cut.png" in last


def test_same_names_do_not_overwrite_each_other(tmp_path):
    files = [write_image(tmp_path / name) for name in ("s1/1.jpg", "s2/1.jpg", "s2/1.png")]
    out = tmp_path / "out"
    assert run("--input", *files, "--output", out) == 0
    assert len(list(out.rglob("*.png"))) == 3
    assert names(out) == ["s1/1.jpg", "s2/1.jpg", "s2/1.png"]


def test_what_is_done_survives_a_crash(tmp_path):
    for name in "abc":
        write_image(tmp_path / f"in/{name}.jpg")
    out = tmp_path / "out"
    with pytest.raises(RuntimeError, match="out of memory"):
        run("--input", tmp_path / "in", "--output", out, predictor=Crash())
    assert len(annotations(out)) == 4
    assert rows(out)[2][:3] == ["c.jpg", "not done yet: start the same command again", ""]
    assert rows(out)[-1][2:] == ["2", "2", "0", "4", *[""] * 4, "1 of 3 images are not counted"]
    assert sorted(path.name for path in out.glob("*.png")) == ["a.png", "b.png"]


def test_no_detection_leaves_valid_files(tmp_path):
    image = write_image(tmp_path / "a.jpg")
    out = tmp_path / "out"
    assert run("--input", image, "--output", out, "--confidence-threshold", "1") == 0
    assert annotations(out) == []
    assert rows(out)[-1] == ["", "total", "0", "0", "0", "0", *[""] * 5]


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


def test_wrong_command_lines_exit_with_2(tmp_path, capsys):
    image = write_image(tmp_path / "in/a.png")
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    assert exit_status("--input", tmp_path / "none.jpg", "--output", out) == 2
    assert "none.jpg" in capsys.readouterr().err
    assert exit_status("--input", image, tmp_path / "no*.jpg", "--output", out) == 2
    assert exit_status("--input", tmp_path / "empty", "--output", out) == 2
    assert "empty" in capsys.readouterr().err
    assert exit_status("--input", image) == 2
    assert "--output" in capsys.readouterr().err
    assert exit_status("--output", out) == 2
    assert exit_status("--input", image, "--output", image.parent) == 2
    assert "name another folder" in capsys.readouterr().err
    for score in ("1.5", "-0.1", "nan", "half"):
        flags = ("--input", image, "--output", out, f"--confidence-threshold={score}")
        assert exit_status(*flags) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert "--confidence-threshold" in error and score in error
    assert exit_status("--video-input", tmp_path / "none.mp4", "--output", out) == 2
    for score in ("7", "-1", "nan", "half"):
        assert exit_status("--input", image, "--output", out, "--confidence-threshold", score) == 2
        assert f"expected a score from 0 to 1, not {score}" in capsys.readouterr().err
    assert not out.exists()


def test_an_output_that_cannot_be_written_exits_with_2(tmp_path, capsys):
    image = write_image(tmp_path / "in/a.png")
    file = tmp_path / "file"
    file.touch()
    for output, reason in (
        (file, "File exists"),
        (file / "out", "Not a directory"),
        ("/proc/self", "No such file or directory"),
    ):
        assert exit_status("--input", image, "--output", output) == 2
        assert f"--output {output} cannot be written ({reason})" in capsys.readouterr().err


def test_a_picture_of_this_project_is_no_image_to_count(tmp_path, capsys):
    image = write_image(tmp_path / "in/a.png")
    assert run("--input", image, "--output", tmp_path / "out") == 0
    assert exit_status("--input", tmp_path / "out/a.png", "--output", tmp_path / "again") == 2
    assert f"{tmp_path}/out/a.png is no image to count" in capsys.readouterr().err


def test_a_config_file_that_is_none_exits_with_2(tmp_path, capsys):
    image = write_image(tmp_path / "a.png")
    for text in ("# A page\n\nwith: a colon: in it", "only words"):
        (tmp_path / "page.md").write_text(text)
        flags = ["--input", image, "--output", tmp_path / "out"]
        with pytest.raises(SystemExit) as stop:
            demo.main([str(arg) for arg in (*flags, "--config-file", tmp_path / "page.md")])
        assert stop.value.code == 2
        assert f"{tmp_path}/page.md is not a config file" in capsys.readouterr().err


def test_missing_weights_and_unknown_keys_exit_with_2(tmp_path, capsys):
    image = write_image(tmp_path / "a.jpg")
    flags = ["--input", image, "--output", tmp_path / "out"]
    config = ["--config-file", SSD_LITE, "--opts", "MODEL.DEVICE", "cpu"]
    for opts, message in (
        (["MODEL.WEIGHTS", tmp_path / "none.pth"], "none.pth"),
        (["MODEL.WEIGTHS", "x"], "MODEL.WEIGTHS"),
    ):
        with pytest.raises(SystemExit) as stop:
            demo.main([str(arg) for arg in (*flags, *config, *opts)])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err


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


def write_video(path, levels=(40, 120, 200)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 5, (160, 120))
    for level in levels:
        writer.write(np.full((120, 160, 3), level, dtype=np.uint8))
    writer.release()


def test_video_round_trip(tmp_path):
    write_video(tmp_path / "v.mp4")
    out, predictor = tmp_path / "out", FakePredictor()
    assert run("--video-input", tmp_path / "v.mp4", "--output", out, predictor=predictor) == 0
    levels = [float(image.mean()) for image in predictor.images]
    assert levels == pytest.approx([40, 120, 200], abs=6)
    assert names(out) == ["v.mp4#0", "v.mp4#1", "v.mp4#2"]
    assert rows(out)[-1][2:6] == ["3", "3", "0", "6"]
    annotated = cv2.VideoCapture(str(out / "v.mp4"))
    assert annotated.get(cv2.CAP_PROP_FPS) == pytest.approx(5)
    assert annotated.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    read, frame = annotated.read()
    assert read and frame.shape[1] == 1280 and frame.shape[0] > 960


def test_unreadable_video_is_named_and_fails(tmp_path, caplog):
    (tmp_path / "v.mp4").write_text("nothing")
    assert run("--video-input", tmp_path / "v.mp4", "--output", tmp_path / "out") == 1
    assert "v.mp4" in caplog.messages[-1]


def three_images(tmp_path):
    return [write_image(tmp_path / f"in/{name}.png", 40 + i) for i, name in enumerate("abc")]


class Crash(FakePredictor):
    def detect(self, image):
        if len(self.images) == 2:
            raise RuntimeError("out of memory")
        return super().detect(image)


class Survivor(FakePredictor):
    def heights(self):
        return [image.shape[0] for image in self.images]


def crashed(tmp_path):
    """The flags of a run of three images that ended after two."""
    three_images(tmp_path)
    flags = ["--input", tmp_path / "in", "--output", tmp_path / "out"]
    with pytest.raises(RuntimeError, match="out of memory"):
        run(*flags, predictor=Crash())
    return flags


def test_a_second_start_goes_on_and_gives_the_same_files(tmp_path):
    flags, again = crashed(tmp_path), Survivor()
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [42]
    run(*flags[:2], "--output", tmp_path / "whole", predictor=Survivor())
    for name in ("counts.csv", "detections.json"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "whole" / name).read_text()
    assert not (tmp_path / "out/unfinished").exists()


def test_only_what_is_still_true_is_not_detected_again(tmp_path):
    flags, again = crashed(tmp_path), Survivor()
    write_image(tmp_path / "in/a.png", 60)
    (tmp_path / "out/b.png").unlink()
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [60, 41, 42]
    assert names(tmp_path / "out") == ["a.png", "b.png", "c.png"]


def test_a_line_that_a_kill_cut_short_does_not_count(tmp_path):
    flags, again = crashed(tmp_path), Survivor()
    (part,) = (tmp_path / "out/unfinished").glob("part-*.jsonl")
    part.write_text(part.read_text()[:-20])
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [41, 42]


@pytest.mark.parametrize("change", ["threshold", "model"])
def test_other_settings_start_afresh(tmp_path, caplog, change):
    flags, again = crashed(tmp_path), Survivor()
    if change == "threshold":
        flags += ["--confidence-threshold", "0.7"]
    else:
        again.identity = "another"
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [40, 41, 42]
    assert f"another {change}" in caplog.text and "starting afresh" in caplog.text
    assert rows(tmp_path / "out")[-1][5] == ("3" if change == "threshold" else "6")


def test_a_repaired_image_alone_is_detected_at_the_second_start(tmp_path):
    three_images(tmp_path)
    (tmp_path / "in/b.png").write_text("nothing")
    flags, again = ["--input", tmp_path / "in", "--output", tmp_path / "out"], Survivor()
    assert run(*flags, predictor=Survivor()) == 1
    write_image(tmp_path / "in/b.png", 50)
    assert run(*flags, predictor=again) == 0
    assert again.heights() == [50]
    assert names(tmp_path / "out") == ["a.png", "b.png", "c.png"]


class Prepared(FakePredictor):
    def prepare(self, image):
        return threading.get_ident(), image

    def detect(self, inputs):
        assert inputs[0] != threading.get_ident()
        return super().detect(inputs[1])


def test_frames_are_read_ahead_in_another_thread(tmp_path):
    write_video(tmp_path / "v.mp4", range(20, 240, 20))
    flags = ["--video-input", tmp_path / "v.mp4", "--output", tmp_path / "out"]
    assert run(*flags, predictor=Prepared()) == 0
    assert names(tmp_path / "out") == [f"v.mp4#{i}" for i in range(11)]


def test_frames_before_a_crash_are_written(tmp_path):
    write_video(tmp_path / "v.mp4", range(20, 240, 20))
    flags = ["--video-input", tmp_path / "v.mp4", "--output", tmp_path / "out"]
    with pytest.raises(RuntimeError, match="out of memory"):
        run(*flags, predictor=Crash())
    assert rows(tmp_path / "out")[-1] == ["", "total", "2", "2", "0", "4", *[""] * 5]
    assert cv2.VideoCapture(str(tmp_path / "out/v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_images_are_prepared_ahead_in_another_thread(tmp_path):
    three_images(tmp_path)
    assert run("--input", tmp_path / "in", "--output", tmp_path / "out", predictor=Prepared()) == 0
    assert rows(tmp_path / "out")[-1][5] == "6"


def test_no_pictures(tmp_path):
    three_images(tmp_path)
    flags = ["--input", tmp_path / "in", "--output", tmp_path / "out", "--no-pictures"]
    assert run(*flags) == 0
    assert sorted(f.name for f in (tmp_path / "out").iterdir()) == ["counts.csv", "detections.json"]
    assert rows(tmp_path / "out")[-1][5] == "6"


def test_a_video_is_for_one_process(tmp_path, capsys):
    flags = ["--video-input", tmp_path / "v.mp4", "--output", tmp_path / "out", "--num-gpus", "2"]
    assert exit_status(*flags) == 2
    assert "one process" in capsys.readouterr().err
