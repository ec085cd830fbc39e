import sys
from pathlib import Path

import pytest

from bccd.benchmark.paired import DetectorProcess, join_starts, time_pairs, worktree

CONFIG = Path(__file__).parents[2] / "configs" / "SparseRCNN" / "sparse_rcnn_lite_bccd.yaml"


class Scripted:
    """Stands for a DetectorProcess; its times are given."""

    def __init__(self, name, milliseconds, log):
        self.name, self.milliseconds, self.log = name, iter(milliseconds), log

    def ask(self, question):
        if question.startswith("peak"):
            return 10.0
        self.log.append(self.name)
        return next(self.milliseconds)


def test_ratios_are_of_pairs_and_turns_alternate():
    log = []
    # Both become four times as slow in the middle: no ratio notices.
    slow = [1, 1, 4, 4, 4]
    first = Scripted("first", [10 * s for s in slow], log)
    second = Scripted("second", [15 * s for s in slow], log)
    result = join_starts([time_pairs(first, second, "forward", 0, least=5)])
    assert result["ratio"] == {"median": 1.5, "quartiles": [1.5, 1.5], "runs": 5}
    assert result["pairs"][2] == [40, 60]
    assert log[:4] == ["first", "second", "second", "first"]


def test_starts_are_joined_and_what_sets_them_apart_is_in_the_quartiles():
    lucky = {"pairs": [[100, 94], [200, 188]], "peaks": [1300, 1350]}
    unlucky = {"pairs": [[100, 106], [50, 53]], "peaks": [1360, None]}
    result = join_starts([lucky, unlucky])
    assert result["start_ratios"] == [0.94, 1.06]
    assert result["ratio"] == {"median": 1.0, "quartiles": [0.94, 1.06], "runs": 4}
    assert result["pairs"] == [[100, 94], [200, 188], [100, 106], [50, 53]]
    assert result["first_peak_mib"] == 1330 and result["second_peak_mib"] is None


def test_a_process_that_fails_is_named(warm_python, monkeypatch):
    monkeypatch.setattr(sys, "executable", warm_python.executable)
    spec = {"config_file": "missing.yaml", "opts": [], "threads": 1, "amp_dtype": None}
    with pytest.raises(RuntimeError, match=r"missing\.yaml failed"):
        DetectorProcess({**spec, "size": [64, 80], "batch_size": 2})


def test_a_worktree_holds_the_files_of_a_revision_and_is_removed():
    if not (CONFIG.parents[2] / ".git").exists():
        pytest.skip("not a git checkout")
    with worktree("HEAD") as folder:
        assert (folder / "bccd" / "config.py").is_file()
    assert not folder.exists()


def test_an_unknown_revision_is_named():
    with pytest.raises(ValueError, match="no-such-revision"), worktree("no-such-revision"):
        pass
