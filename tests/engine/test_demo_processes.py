"""demo.py as a command of several processes: the files of one, a death, a second start."""

import os
import re
import subprocess
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from tiny_training import SIZE, tiny_cfg

import demo

ROOT = Path(__file__).parents[2]
IMAGES = 15
FILES = ("counts.csv", "detections.json")


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Flags of a run over 15 images and two that fail, and the folder that one process gives."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "in").mkdir()
    rng = np.random.default_rng(0)
    for index in range(IMAGES):
        image = rng.integers(0, 255, (SIZE + index, SIZE, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"in/{index:02}.png"), image)
    (folder / "in/05 broken.png").write_text("nothing")
    cv2.imwrite(str(folder / "in/08 thin.png"), np.zeros((2, 9000, 3), np.uint8))  # resized: 0 high
    architecture = ("MODEL.META_ARCHITECTURE", "TinyMortalDetector")
    cfg = tiny_cfg(folder, *architecture, "MODEL.WEIGHTS", str(folder / "model.pth"))
    torch.manual_seed(0)
    torch.save({"model": build_model(cfg).state_dict()}, folder / "model.pth")
    (folder / "config.yaml").write_text(cfg.dump())
    flags = ["--config-file", str(folder / "config.yaml"), "--input", str(folder / "in")]
    flags += ["--confidence-threshold", "0.1"]
    assert demo.main([*flags, "--output", str(folder / "one")]) == 1
    return flags, folder / "one"


@pytest.fixture
def run(warm_python):
    """Function that runs the tiny demo."""
    return partial(run_demo, warm_python.executable)


def run_demo(python, flags, output, *more, death=""):
    path = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
    hidden = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "TINY_DEATH": death}
    return subprocess.run(
        [python, "-m", "tiny_demo", *flags, "--output", str(output), *more],
        env={**os.environ, **hidden, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


def assert_same(actual, expected):
    for name in FILES:
        # The folder of the images is named as seen from the file, which lies elsewhere.
        texts = [
            re.sub(r'"images_folder": "[^"]*"', "", (folder / name).read_text())
            for folder in (actual, expected)
        ]
        assert texts[0] == texts[1], name
    pictures = sorted(path.name for path in expected.glob("*.png"))
    assert sorted(path.name for path in actual.glob("*.png")) == pictures
    assert len(pictures) == IMAGES
    for name in pictures:
        assert (actual / name).read_bytes() == (expected / name).read_bytes()


def test_two_processes_give_the_files_of_one(tmp_path, job, run):
    flags, one = job
    done = run(flags, tmp_path, "--num-gpus", "2")
    assert done.returncode == 1  # of the two that fail
    assert done.stdout.count("2 of 17 images could not be counted") == 1, done.stdout
    assert_same(tmp_path, one)
    parts = [path.read_text() for path in sorted(tmp_path.glob("unfinished/part-*.jsonl"))]
    assert [part.count("detections") for part in parts] == [9, 6]


def test_torchrun_is_refused_with_the_ways_that_there_are(tmp_path, job, monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as ended:
        demo.main([*job[0], "--output", str(tmp_path / "out")])
    assert ended.value.code == 2 and not (tmp_path / "out").exists()
    assert "torchrun is not for counting" in capsys.readouterr().err


def test_a_dead_process_ends_the_run_and_a_second_start_goes_on(tmp_path, job, run):
    flags, one = job
    # At its sixth image at least one of those before it is finished: few wait to be drawn.
    done = run(flags, tmp_path, "--num-gpus", "2", death="1 6")
    assert done.returncode == 1
    error = "A process of --num-gpus 2 ended early: process 1 terminated with signal SIGKILL"
    assert error in done.stdout
    assert "Traceback" not in done.stdout  # one clear message
    finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.png")}
    rows = (tmp_path / "counts.csv").read_text().splitlines()
    noted = sum(row.split(",")[1] == '"ok"' for row in rows)
    assert 0 < noted <= len(finished) < IMAGES
    order = (one / "counts.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == [row.split(",")[0] for row in order]
    undone = [row for row in rows[:-1] if "not done yet" in row]
    assert undone and all(row in order for row in rows[:-1] if row not in undone)

    assert demo.main([*flags, "--output", str(tmp_path)]) == 1
    kept = [path for path, time in finished.items() if path.stat().st_mtime_ns == time]
    assert len(kept) == noted
    assert_same(tmp_path, one)


def test_an_error_of_a_process_is_shown(tmp_path, job, run):
    flags, _ = job
    options = ("--num-gpus", "2", "--opts", "MODEL.WEIGHTS", "none.pth")
    done = run(flags, tmp_path, *options)
    assert done.returncode == 1
    assert "A process of --num-gpus 2 ended early" in done.stdout
    assert "FileNotFoundError" in done.stdout and "none.pth" in done.stdout
    assert not (tmp_path / "counts.csv").exists()
