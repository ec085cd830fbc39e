"""``tools/measure_fields.py`` where not all of its data is there."""

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

TOOL = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "measure_fields.py"))
GLOBALS = TOOL["find_fields"].__globals__


class FixedCounter:
    """Finds one red cell in everything."""

    class_names = ("RBC", "WBC", "Platelets")

    def __init__(self, model):
        self.model = model

    def __call__(self, image, channel_order):
        return SimpleNamespace(counts={"RBC": 1, "WBC": 0, "Platelets": 0}, notes=())


def test_without_marked_fields_it_says_which_to_get(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert TOOL["main"](["--output", str(tmp_path / "fields.json")]) == 2
    message = capsys.readouterr().err
    assert "get TXL-PBC, which datasets/README.md describes" in message
    assert not list(tmp_path.iterdir())


@pytest.fixture
def part(monkeypatch):
    """Of the data sets, that of one other laboratory is there."""
    load_records = GLOBALS["load_records"]

    def load(name, class_names):
        if name != "txl_pbc_raabin_test":
            raise FileNotFoundError(f"{name} is not there")
        return load_records("smears_test", class_names)

    monkeypatch.setitem(GLOBALS, "load_records", load)
    monkeypatch.setitem(GLOBALS, "CellCounter", FixedCounter)


def test_what_is_there_is_measured(part, tmp_path, capsys):
    output = tmp_path / "fields.json"
    flags = ["--models", "any", "--fields", "1"]
    assert TOOL["main"]([*flags, "--output", str(output)]) == 0
    (run,) = json.loads(output.read_text())["runs"]
    assert run["stitched"] == [] and [r["dataset"] for r in run["rescaled"]] == [
        "txl_pbc_raabin_test"
    ]
    assert "not measured on txl_pbc_pbc_test" in capsys.readouterr().err


def test_a_part_does_not_replace_the_kept_results(part, capsys):
    before = TOOL["RESULTS"].read_bytes()
    assert TOOL["main"](["--models", "any", "--fields", "1"]) == 2
    assert "another --output" in capsys.readouterr().err
    assert TOOL["RESULTS"].read_bytes() == before
