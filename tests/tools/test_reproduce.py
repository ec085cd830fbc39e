import runpy
import subprocess
from pathlib import Path

import pytest

reproduce = runpy.run_path(str(Path(__file__).parents[2] / "tools/reproduce.py"))


@pytest.fixture
def started(monkeypatch):
    """The commands that would run; the second one fails."""
    found = []

    def fake_run(command, check):
        found.append(command)
        if len(found) == 2:
            raise subprocess.CalledProcessError(3, command)

    monkeypatch.setattr(subprocess, "run", fake_run)
    return found


@pytest.mark.parametrize("flags", [["ssd_lite_tta"], [], ["ssd_lite", "--minutes", "0"]])
def test_a_wrong_command_line_is_refused_before_anything_runs(flags, started, capsys):
    with pytest.raises(SystemExit) as error:
        reproduce["main"](flags)
    assert error.value.code == 2 and not started
    assert "error: " in capsys.readouterr().err


def test_what_is_shown_does_not_run(started, capsys):
    assert reproduce["main"](["--list"]) == 0
    assert "sparse_rcnn_r50_learnt" in capsys.readouterr().out
    assert reproduce["main"](["ssd_lite_voc", "--dry-run"]) == 0
    assert "SOLVER.MAX_ITER 1600" in capsys.readouterr().out and not started


def test_a_command_that_fails_ends_the_row(started, capsys):
    assert reproduce["main"](["ssd_lite_voc", "--opts", "SEED", "2"]) == 1
    assert len(started) == 2 and started[0][-2:] == ["SEED", "2"]
    assert "train_net.py failed with status 3" in capsys.readouterr().err
