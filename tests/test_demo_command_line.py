"""Command lines of demo.py that are refused."""

from pathlib import Path

import pytest
from demo_runs import exit_status, write_image

import demo

SSD_LITE = Path(__file__).parents[1] / "configs/SSD/ssd_lite_bccd.yaml"


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


def test_a_video_is_for_one_process(tmp_path, capsys):
    flags = ["--video-input", tmp_path / "v.mp4", "--output", tmp_path / "out", "--num-gpus", "2"]
    assert exit_status(*flags) == 2
    assert "one process" in capsys.readouterr().err
