import os
import signal
import subprocess
import sys

import cv2
import pytest

from bccd.benchmark.processes import cpu_seconds, resident_mib
from bccd.benchmark.streaming import LineCounter, Sample, summarise, watch_demo, write_smears
from bccd.counting.inputs import find_images


def samples_of(memory, seconds_per_image=0.5, start=10.0):
    """A sample before the first image, and one after each; ``memory`` maps images to MiB."""
    images = len(memory)
    return [
        Sample(0.0, 0, 50.0, 0.0),
        *(
            Sample(start + seconds_per_image * i, i + 1, memory[i], 3 + 0.7 * i)
            for i in range(images)
        ),
    ]


def test_constant_memory_and_the_rate_without_the_start():
    summary = summarise(samples_of([100.0] * 40), 40)
    assert summary["constant"] and summary["growth_percent"] == 0
    assert summary["images_per_second"] == pytest.approx(2.0)
    assert summary["cpu_ms_per_image"] == pytest.approx(700)
    assert summary["seconds_to_first_image"] == 10.0
    assert summary["seconds"] == pytest.approx(10 + 0.5 * 39)
    assert summary["mib_of_tenths"] == [100.0] * 10


def test_memory_that_grows_with_the_images():
    summary = summarise(samples_of([100.0 + i for i in range(40)]), 40)
    assert summary["constant"] is False
    assert summary["growth_percent"] == pytest.approx(100 * (138 / 118 - 1))
    assert summary["peak_mib"] == 139


def test_what_is_filled_at_the_start_is_not_growth():
    summary = summarise(samples_of([20.0] * 2 + [100.0] * 38), 40)
    assert summary["constant"]
    assert summary["mib_of_tenths"][0] == 100.0


def test_too_few_samples_tell_nothing():
    summary = summarise(
        [Sample(0.0, 0, 50.0, 0.0), Sample(1.0, 3, 90.0, 1.0), Sample(2.0, 3, 80.0, 2.0)], 3
    )
    assert summary["constant"] is None and summary["growth_percent"] is None
    assert summary["images_per_second"] is None
    assert summary["peak_mib"] == 90.0


def test_the_rate_ends_with_the_last_image():
    waiting = [*samples_of([100.0] * 11), Sample(99.0, 11, 100.0, 99.0)]
    assert summarise(waiting, 11)["images_per_second"] == pytest.approx(2.0)


def test_smears_are_distinct_images_in_the_space_of_few(tmp_path):
    write_smears(tmp_path, 7, 3, (32, 48))
    files = sorted(tmp_path.iterdir())
    assert len(find_images([str(tmp_path)]).images) == 7  # not one image with seven names
    assert len({os.stat(file).st_ino for file in files}) == 3
    assert cv2.imread(str(files[6])).shape == (32, 48, 3)


def test_lines_are_counted_once_and_only_whole_ones(tmp_path):
    counter = LineCounter(tmp_path / "none yet")
    assert counter.count() == 0
    counter = LineCounter(tmp_path)
    part = tmp_path / "part-0.jsonl"
    part.write_text('\n{"a": 1}\n{"a"')
    assert counter.count() == 1
    with open(part, "a") as file:
        file.write(": 2}\n")
    (tmp_path / "part-1.jsonl").write_text('\n{"a": 3}\n')
    assert counter.count() == 3
    part.unlink()
    assert counter.count() == 3


def test_use_of_a_process_is_that_of_its_children_too():
    work = "import time\nx = b'1' * 2**27\nwhile time.process_time() < 0.5: pass\n"
    inner = work + "print(flush=True); time.sleep(60)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    process = subprocess.Popen(
        [sys.executable, "-c", outer], stdout=subprocess.PIPE, start_new_session=True
    )
    try:
        process.stdout.readline()
        assert 128 < resident_mib(process.pid) < 256
        assert 0.45 < cpu_seconds(process.pid) < 5
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert resident_mib(process.pid) == cpu_seconds(process.pid) == 0


def test_a_run_that_fails_shows_why(tmp_path, warm_python, monkeypatch):
    monkeypatch.setattr(sys, "executable", warm_python.executable)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError, match=r"(?s)status 2.*No image"):
        watch_demo(tmp_path / "in", tmp_path / "out", 1, 1)
