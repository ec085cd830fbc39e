import json
import runpy
from pathlib import Path

import cv2
import pytest
import torch

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "benchmark_drawing.py"))


def test_it_times_smears_and_crowds_and_says_where(tmp_path, capsys):
    output, threads = (
        tmp_path / "new" / "drawing.json",
        (torch.get_num_threads(), cv2.getNumThreads()),
    )
    try:
        TOOL["main"](["--rounds", "2", "--size", "48", "64", "--output", str(output)])
    finally:
        torch.set_num_threads(threads[0])
    assert cv2.getNumThreads() == threads[1]
    report = json.loads(output.read_text())
    assert report["machine"]["threads"] == 1 and report["size"] == [48, 64]
    smear, crowd = report["pictures"]
    assert (smear["field"], crowd["field"], crowd["cells"]) == ("smear", "crowd", 400)
    for each in (smear, crowd):
        assert each["draw_ms"]["runs"] == 2 and each["kilobytes"] > 1
        seconds = (each["draw_ms"]["median"] + each["write_ms"]["median"]) / 1000
        assert each["pictures_per_second"] == pytest.approx(1 / seconds)
    table = capsys.readouterr().out
    assert "pictures/s" in table and "crowd" in table


def test_nothing_to_measure_is_refused(capsys):
    with pytest.raises(SystemExit):
        TOOL["main"](["--rounds", "0"])
    assert "at least 1" in capsys.readouterr().err
