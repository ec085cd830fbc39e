import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
tool = runpy.run_path(str(ROOT / "tools" / "performance_page.py"))
REPORT = {
    "machine": {
        "device": "a CPU",
        "instructions": "AVX2",
        "torch": "2.11",
        "threads": 2,
        "load_before": 0.1,
    },
    "command": "python tools/x.py --seconds 3",
    "date": "2026-01-02",
    "runs": [
        {
            "processes": 2,
            "cores": 2,
            "images_per_second": 12.34,
            "speed_of_first_run": 1.5,
            "cpu_ms_per_image": 33.3,
            "seconds_to_first_image": 4.0,
            "seconds": 20.0,
            "peak_mib": 120.0,
            "mib_of_tenths": [None, 100.4],
        }
    ],
}


def markers(name):
    return f"<!-- {name}: begin -->\nold\n<!-- {name}: end -->"


@pytest.fixture
def report(tmp_path, monkeypatch):
    monkeypatch.setitem(tool["fill"].__globals__, "ROOT", tmp_path)
    file = tmp_path / "run.json"
    file.write_text(json.dumps(REPORT))
    return file


def test_the_page_says_what_was_measured_how_and_where(report, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{markers('run.json')}\nafter\n")
    assert tool["main"]([str(page)]) == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
    for part in (
        "12.3",
        "1.50",
        "-, 100",
        "a CPU (AVX2), PyTorch 2.11 on 2 threads",
        "2026-01-02",
        "`python tools/x.py --seconds 3`",
    ):
        assert part in text
    assert tool["fill"](text) == text


@pytest.mark.parametrize("content", ["{}", "no json", None], ids=["empty", "broken", "missing"])
def test_a_file_without_figures_is_one_clear_error(report, tmp_path, capsys, content):
    page = tmp_path / "page.md"
    page.write_text(markers("run.json"))
    report.unlink() if content is None else report.write_text(content)
    assert tool["main"]([str(page)]) == 2
    assert "run.json" in capsys.readouterr().err and "old" in page.read_text()


@pytest.mark.parametrize("page", tool["PAGES"], ids=lambda page: page.stem)
def test_the_pages_show_what_the_files_say(page):
    text = page.read_text()
    assert "results/performance/" in text
    assert tool["fill"](text) == text
