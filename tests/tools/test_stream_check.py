import json
import os
import runpy
from pathlib import Path

import pytest

from bccd.processes import available_cores

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "stream_check.py"))
TINY = ["--images", "12", "--distinct", "3", "--size", "48", "64"]


def test_one_process_and_two(tmp_path, capsys):
    output = tmp_path / "new" / "stream.json"
    flags = ["--num-gpus", "1", "2", "--output", str(output)]
    demo = ["--demo", "--opts", "INPUT.MIN_SIZE_TEST", "64"]
    assert TOOL["main"]([*TINY, *flags, *demo]) in (0, 1)
    report = json.loads(output.read_text())
    assert (report["images"], report["size"]) == (12, [48, 64])
    assert [run["processes"] for run in report["runs"]] == [1, 2]
    first, second = report["runs"]
    assert first["cores"] == second["cores"] == available_cores()
    assert first["speed_of_first_run"] in (1, None)
    assert all(run["peak_mib"] > 100 and len(run["mib_of_tenths"]) == 10 for run in report["runs"])
    printed = capsys.readouterr().out
    assert "peak MiB" in printed and "2 process(es): " in printed


def test_growth_is_said_and_is_the_exit_status(tmp_path, capsys, monkeypatch):
    grown = {"constant": False, "growth_percent": 31.0, "mib_of_tenths": [1.0] * 10}
    rest = (
        "images_per_second",
        "cpu_ms_per_image",
        "seconds_to_first_image",
        "seconds",
        "peak_mib",
    )
    run = {**dict.fromkeys(rest, 1.0), **grown}
    change = TOOL["main"].__globals__
    monkeypatch.setitem(change, "watch_demo", lambda *_: [])
    monkeypatch.setitem(change, "summarise", lambda *_: run)
    assert TOOL["main"]([*TINY, "--output", str(tmp_path / "stream.json")]) == 1
    assert (
        "MEMORY GREW: its peak in the second half of the run is +31.0%" in capsys.readouterr().out
    )


def test_cores_of_a_run_grow_with_its_processes(tmp_path, monkeypatch):
    given = []
    change = TOOL["main"].__globals__
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.setitem(change, "watch_demo", lambda *args: given.append(args[2:4]))
    monkeypatch.setitem(change, "summarise", lambda *_: {"images_per_second": None})
    args = TOOL["parse_arguments"]([*TINY, "--num-gpus", "1", "2", "4", "--cores-each", "2"])
    assert [run["cores"] for run in TOOL["run_all"](args)] == [2, 4, 8]
    assert given == [(1, 2), (2, 4), (4, 8)]
    with pytest.raises(SystemExit):
        TOOL["parse_arguments"](["--num-gpus", "5", "--cores-each", "2"])
