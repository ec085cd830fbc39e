import json
import runpy
from pathlib import Path

import pytest

from bccd.benchmark import startup

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "time_startup.py"))


def test_it_starts_demo_and_writes_the_times(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "FLAGS", {"onnx": startup.FLAGS["onnx"]})
    monkeypatch.setattr(startup, "TARGETS", {"onnx": 1e9})
    output = tmp_path / "new" / "startup.json"
    assert TOOL["main"](["--runs", "1", "--output", str(output)]) == 0
    report = json.loads(output.read_text())
    (start,) = report["starts"]
    assert start["way"] == "onnx" and start["seconds"]["runs"] == 1
    assert start["cpu_seconds"]["median"] > 0
    assert report["command"] and report["machine"]["device"]


def test_a_failing_run_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(startup, "FLAGS", {"onnx": ["--runtime", "onnx", "none"]})
    with pytest.raises(RuntimeError, match="ended with status 2"):
        startup.time_starts(tmp_path / "none.png", tmp_path / "out", 1)
