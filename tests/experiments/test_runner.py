"""Rows that are trained for some minutes, with a train_net.py that only notes how it is called."""

import json
from pathlib import Path

import pytest

from bccd.experiments import commands, rows, runner
from bccd.experiments.checkout import ROOT

TRAIN_NET = """
import json, sys, time
from pathlib import Path
words = sys.argv[1:]
output = Path(words[words.index("OUTPUT_DIR") + 1])
with open("calls", "a") as file:
    file.write(json.dumps([Path(sys.argv[0]).name, *words]) + "\\n")
if "--eval-only" not in words:
    (output / "model_best.pth").touch()
if "HANG" in words:
    time.sleep(60)
"""
NOTE = "import json, sys; open('calls', 'a').write(json.dumps(['{}', *sys.argv[1:]]) + '\\n')\n"
FIT = """
import sys
from pathlib import Path
print("noise")
print(24)
if "HANG" in sys.argv:  # the training may be ended before it writes one
    Path("output/ssd512/model_best.pth").touch()
sys.exit("FAIL" in sys.argv)
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with the scripts that rows call, in which the test runs."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "train_net.py").write_text(TRAIN_NET)
    (tmp_path / "tools/fit_schedule.py").write_text(FIT)
    (tmp_path / "tools/keep_results.py").write_text(NOTE.format("keep_results.py"))
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(runner, "available_cores", lambda: 8)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def short_rows(*names, **changes):
    known = rows.read_rows(ROOT / "configs/experiments/rows.yaml")
    return [rows.replace(known[name], **changes) for name in names]


def calls(checkout):
    return [json.loads(line) for line in (checkout / "calls").read_text().splitlines()]


def test_rows_are_trained_for_what_fits_and_kept(checkout):
    selected = short_rows("sparse_rcnn_r50", "ssd512")
    assert runner.run_within(selected, commands.Places(), minutes=8) == []
    trained = [c for c in calls(checkout) if c[0] == "train_net.py" and "--eval-only" not in c]
    folders = {c[c.index("OUTPUT_DIR") + 1] for c in trained}
    assert folders == {"output/sparse_rcnn_r50", "output/ssd512"}
    words = " ".join(trained[0])
    assert "DATALOADER.NUM_WORKERS 4 SOLVER.MAX_ITER 24 SOLVER.WARMUP_ITERS 2" in words
    assert "TEST.EVAL_PERIOD 5 SOLVER.CHECKPOINT_PERIOD 1000000" in words
    kept = [c for c in calls(checkout) if c[0] == "keep_results.py"]
    assert [c[c.index("--row") + 1] for c in kept] == ["sparse_rcnn_r50", "ssd512"]
    notes = [c[c.index("--note") + 1] for c in kept]
    assert notes[0] == "dense proposals; 6 minutes of half of a GPU"


def test_a_training_that_the_time_ends_is_evaluated(checkout):
    (row,) = short_rows("ssd512", schedule={"HANG": 1})
    (problem,) = runner.run_within([row], commands.Places(), minutes=0.001)
    assert "ended early" in problem and "train.out" in problem
    assert [c[0] for c in calls(checkout)][-1] == "keep_results.py"


def test_a_row_that_cannot_be_trained_leaves_the_others(checkout):
    bad = short_rows("sparse_rcnn_r50", options={"FAIL": 1})
    problems = runner.run_within([*bad, *short_rows("ssd512")], commands.Places(), minutes=1)
    assert len(problems) == 1 and problems[0].startswith("sparse_rcnn_r50 cannot be trained; see")
    assert "output/ssd512" in calls(checkout)[0]


def test_a_longer_training_is_not_overwritten(checkout):
    folder = Path("output/ssd512")
    folder.mkdir(parents=True)
    (folder / "model_final.pth").touch()
    with pytest.raises(ValueError, match="output/ssd512 holds the checkpoints of another"):
        runner.run_within(short_rows("ssd512"), commands.Places(), minutes=1)
    assert (folder / "model_final.pth").exists()
