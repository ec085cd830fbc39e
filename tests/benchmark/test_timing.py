import time
from types import SimpleNamespace

import pytest

from bccd.benchmark.timing import Sections, timing


def test_a_section_does_not_count_the_sections_inside_it(monkeypatch):
    clock = iter([0.0, 1.0, 3.0, 7.0])
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    sections = Sections()
    with sections.section("outer"), sections.section("inner"):
        pass
    assert sections.seconds == {"outer": 1.0 + 4.0, "inner": 2.0}


def test_watching_ends_with_restore():
    class Model:
        def run(self):
            return "result"

    model = Model()
    holder = SimpleNamespace(function=model.run)
    sections = Sections()
    sections.watch(model, "run", "method")
    sections.watch(holder, "function", "attribute")
    assert model.run() == holder.function() == "result"
    assert set(sections.seconds) == {"method", "attribute"}
    sections.restore()
    assert "run" not in vars(model)
    assert holder.function == model.run


def test_a_failing_call_is_closed():
    def fail():
        raise KeyError

    holder = SimpleNamespace(fail=fail)
    sections = Sections()
    sections.watch(holder, "fail", "failing")
    with pytest.raises(KeyError), sections.section("outer"):
        holder.fail()
    assert sections._open == []


def test_timing_has_median_and_quartiles():
    result = timing(lambda: None, 0.01)
    low, high = result["quartile_ms"]
    assert 0 < low <= result["median_ms"] <= high
    assert result["runs"] > 0
