import json
import runpy
from pathlib import Path

from bccd.benchmark import busy

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "time_busy.py"))


def test_it_times_the_detector_alone_and_beside_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(busy, "SETTINGS", {"ours": ("1000", True)})
    monkeypatch.setattr(busy, "_WARM_UP", 0.1)
    output = tmp_path / "new" / "busy.json"
    assert TOOL["main"](["--seconds", "0.1", "--others", "1", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    (row,) = report["busy"]
    assert (row["spin"], row["count"], row["others"]) == ("ours", 1000, 1)
    assert row["alone_ms"]["median"] > 0 and row["busy_ms"]["runs"] >= 3
    assert row["share_ratio"] > 0 and report["command"]
    assert "of a fair share" in capsys.readouterr().out


def test_the_time_of_a_fair_share_counts_every_thread(monkeypatch):
    times = iter([[10.0] * 3, [30.0] * 3])
    monkeypatch.setattr(busy, "SETTINGS", {"ours": ("1000", False)})
    monkeypatch.setattr(busy, "_time_detector", lambda *_: next(times))
    monkeypatch.setattr(busy, "available_cores", lambda: 2)
    (row,) = busy.measure_busy(1, others=2)  # two threads of four: half of the cores
    assert row["share_ratio"] == 1.5
