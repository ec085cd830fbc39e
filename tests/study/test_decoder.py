import os
import signal
import sys
import threading

import cv2
import pytest
from disc_detector import draw_field

from bccd.study import StudyError, decoder, python_process
from bccd.study.decoder import Decoder, Source


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "field.png"
    cv2.imwrite(str(path), draw_field(3, 4, 30))
    return Source(1, path)


@pytest.fixture
def own(request):
    own = Decoder(getattr(request, "param", 60))
    yield own
    own.close()


def test_pixels_are_those_of_the_one_reader(own, image):
    pixels, size = own.pixels(image)
    assert (pixels == draw_field(3, 4, 30)).all() and size is None


def test_a_decoder_that_dies_costs_one_image(own, image):
    own.pixels(image)
    os.kill(own._process.pid, signal.SIGKILL)
    own._process.wait()
    assert own.pixels(image)[0].shape[2] == 3  # it was dead before it was asked

    process = own._started()
    process.send_signal(signal.SIGSTOP)  # as in the middle of an image
    threading.Timer(0.3, process.kill).start()
    with pytest.raises(StudyError, match="the program that reads images ended on it"):
        own.pixels(image)
    assert own.pixels(image)[0].shape[2] == 3


@pytest.mark.parametrize("own", [1.0], indirect=True)
def test_a_decoder_that_hangs_is_given_up(own, image, monkeypatch):
    hangs = [sys.executable, "-c", "import time; time.sleep(60)"]
    start = python_process.subprocess.Popen

    def hanging(name, answers):
        pipe = python_process.subprocess.PIPE
        return start(hangs, stdin=pipe, stdout=pipe)

    monkeypatch.setattr(decoder, "start_module", hanging)
    with pytest.raises(StudyError, match="takes more than 1 seconds"):
        own.pixels(image)


def test_errors_are_told_without_the_path(own, tmp_path):
    (tmp_path / "secret").mkdir()
    path = tmp_path / "secret" / "field.png"
    path.write_bytes(b"no image")
    with pytest.raises(StudyError) as error:
        own.pixels(Source(1, path))
    assert "secret" not in str(error.value)


def test_a_process_that_nobody_listens_to_ends(tmp_path, monkeypatch, capfd):
    """What it prints is more than a pipe holds."""
    (tmp_path / "prints_much.py").write_text("print('x' * 1_000_000)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = python_process.start_module("prints_much")
    assert process.wait(60) == 0
    python_process.end_process(process)
    assert len(capfd.readouterr().err) >= 1_000_000
