"""Videos, and what demo.py reads ahead of the detector."""

import threading

import cv2
import numpy as np
import pytest
from demo_runs import Crash, names, rows, run, three_images
from detectron2.utils.logger import setup_logger
from fake_predictor import FakePredictor

setup_logger(distributed_rank=0, name="bccd")  # before caplog looks for such loggers


def write_video(path, levels=(40, 120, 200)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 5, (160, 120))
    for level in levels:
        writer.write(np.full((120, 160, 3), level, dtype=np.uint8))
    writer.release()


class Prepared(FakePredictor):
    def prepare(self, image):
        return threading.get_ident(), image

    def detect(self, inputs):
        assert inputs[0] != threading.get_ident()
        return super().detect(inputs[1])


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
    assert rows(tmp_path / "out")[-1] == ["", "total", "2", "2", "0", "4", *[""] * 11]
    assert cv2.VideoCapture(str(tmp_path / "out/v.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 2


def test_images_are_prepared_ahead_in_another_thread(tmp_path):
    three_images(tmp_path)
    assert run("--input", tmp_path / "in", "--output", tmp_path / "out", predictor=Prepared()) == 0
    assert rows(tmp_path / "out")[-1][5] == "6"
