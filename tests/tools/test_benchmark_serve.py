import json
import runpy
from pathlib import Path

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "benchmark_serve.py"))


def test_it_times_each_path_of_one_reader_and_of_several(tmp_path, capsys):
    output = tmp_path / "new" / "serve.json"
    few = ["--fields", "30", "--to-count", "2", "--readers", "2", "--rounds", "1"]
    TOOL["main"]([*few, "--output", str(output)])
    report = json.loads(output.read_text())
    assert report["fields"] == 30 and report["command"]
    assert set(report["paths"]) == {*TOOL["PATHS"], TOOL["ALL_FIELDS"]}
    assert all(times["alone_ms"] > 0 for times in report["paths"].values())
    assert report["paths"]["/"]["together_p95_ms"] > 0
    assert json.loads(capsys.readouterr().out) == report
