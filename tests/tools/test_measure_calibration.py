import json
import runpy
from pathlib import Path

import pytest

from bccd.experiments.calibration import measure

ROOT = Path(__file__).parents[2]
tool = runpy.run_path(str(ROOT / "tools/measure_calibration.py"))


def make_run(dataset, draw, after):
    def errors(counted):
        return {"counted": counted, "error": counted / 10, "interval": [0, 1]}

    test = {"RBC": {"marked": 90, "before": errors(80), "after": errors(after)}}
    return {
        "dataset": dataset,
        "fields": 10,
        "draw": draw,
        "test_fields": 5,
        "thresholds": {"RBC": {"before": 0.5, "after": 0.4 if after != 80 else 0.5}},
        "expected_diameter": {"expected": 75.0 if draw else None},
        "fine_tuning": {"kept": True, "AP": {"before": 10.0, "after": 12.0}} if draw else {},
        "test": test,
    }


def test_what_is_measured_is_kept_and_shown(tmp_path, monkeypatch, capsys):
    asked = []

    def measured(choice, dataset, folder, *, draw, **options):
        asked.append((dataset, draw))
        return make_run(dataset, draw, 80 + 5 * draw)

    monkeypatch.setitem(tool["measure"].__globals__, "measure_calibration", measured)
    output = tmp_path / "calibration.json"
    flags = ["--datasets", "a", "b", "--draws", "2", "--output", str(output)]
    assert tool["main"](flags) == 0
    assert asked == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    table = capsys.readouterr().out
    assert "| `a`, 5 | RBC | 90 | 80 | 82 (80 to 85) | 8.00 | 8.25 (8.00 to 8.50) |" in table
    assert "| `a` | 1 | 75 pixels | RBC 0.50 -> 0.40 | kept: 10.0 -> 12.0 |" in table
    assert "| `a` | 0 | as before | as before | not tried |" in table
    assert tool["main"](flags) == 0 and len(asked) == 4
    assert tool["main"]([*flags, "--again"]) == 0 and len(asked) == 8
    assert len(json.loads(output.read_text())["runs"]) == 4

    page = tmp_path / "page.md"
    parts = [f"{name}: {end}" for name in ("counts", "changes") for end in ("begin", "end")]
    page.write_text("\n".join(f"<!-- calibration {part} -->" for part in parts))
    assert tool["main"](["--page", str(page), "--output", str(output)]) == 0
    assert "82 (80 to 85)" in page.read_text() and "75 pixels" in page.read_text()


def test_a_laboratory_is_named_as_any_data_set(tmp_path):
    record = {"file_name": str(tmp_path / "a.png"), "image_id": 1, "height": 4, "width": 6}
    name = measure.write_laboratory([record], ["RBC"], tmp_path / "fields.json")
    assert name == f"coco:{tmp_path}/fields.json:{tmp_path}"
    content = json.loads((tmp_path / "fields.json").read_text())
    assert content["images"][0]["file_name"] == "a.png"
    with pytest.raises(ValueError, match="subpath"):
        other = {**record, "file_name": "/elsewhere/b.png"}
        measure.write_laboratory([record, other], ["RBC"], tmp_path / "fields.json")
