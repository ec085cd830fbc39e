"""tools/calibrate_intervals.py: what it chooses travels with the model."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest

from bccd import CellCounter, model_zoo
from bccd.experiments import intervals

TOOL = Path(__file__).parents[2] / "tools/calibrate_intervals.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("calibrate_intervals", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_intervals_are_chosen_and_stored_in_an_exported_file(tool, tmp_path, monkeypatch, capsys):
    load = intervals.load_records
    monkeypatch.setattr(intervals, "load_records", lambda *a, **k: load(*a, **k)[:20])
    model = shutil.copy(model_zoo.find_export("ssd_lite"), tmp_path / "mine.onnx")
    shutil.copy(model_zoo.find_weights("ssd_lite"), tmp_path)
    assert tool.main(["--model", str(model), "--dataset", "smears_val", "--store"]) == 0
    printed = capsys.readouterr().out
    chosen = json.loads(printed[printed.index("{") : printed.rindex("}") + 1])
    counter = CellCounter(model)
    assert counter.intervals.datasets == ("smears_val",)
    assert list(counter.intervals.width) == chosen["WIDTH"] and min(chosen["WIDTH"]) > 1.9
    assert chosen["THRESHOLDS"] == pytest.approx(list(counter.thresholds.values()))


def test_data_that_cannot_be_used_is_refused(tool, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tool.main(["--runtime", "onnx", "--dataset", f"coco:{tmp_path}/none.json"])
    assert "none.json" in capsys.readouterr().err
