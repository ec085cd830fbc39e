import pytest
from studies import use_detector

from bccd.benchmark.serving import build_study, measure_server
from bccd.study import Study

pytest.importorskip("nicegui", reason="bccd serve needs the packages of the extra serve")


def test_a_study_of_many_fields_is_made_of_few_images(tmp_path, monkeypatch):
    use_detector(monkeypatch)
    folder = tmp_path / "many"
    build_study(folder, fields=7, distinct=2, waiting=3)
    with Study.open(folder / "study") as study:
        totals = study.totals()
        assert (totals.fields, totals.counted, totals.pending) == (7, 4, 3)
        assert [row.status for row in study.fields().rows[4:]] == ["pending"] * 3
        assert study.field(7).boxes == study.field(2).boxes  # of the same image
        assert study.thumbnail(7) == study.thumbnail(2)


@pytest.mark.slow
def test_readers_are_answered_while_counting_runs(tmp_path, monkeypatch):
    use_detector(monkeypatch)
    folder = tmp_path / "many"
    build_study(folder, fields=8, distinct=1, waiting=2)
    found = measure_server(folder, 8, readers=2, seconds=6)
    assert found["fields"] == 8 and found["mib"] > 50
    assert {"page of a field", "boxes of a field", "tile"} <= set(found["answers"])
    for answer in found["answers"].values():
        assert 0 < answer["median_ms"] <= answer["max_ms"]
