"""Thresholds of several data sets, some of which do not mark every class."""

import pytest
from detectron2.data import MetadataCatalog

from bccd.experiments import counting_thresholds
from bccd.experiments.counting_thresholds import choose_on


class _Predictor:
    magnification, class_names = object(), ("RBC", "Platelets")


def _choose(monkeypatch, datasets):
    """Thresholds whose digits tell on how many data sets they were chosen."""
    monkeypatch.setattr(counting_thresholds, "marked_fields", lambda datasets, names: datasets)
    monkeypatch.setattr(
        counting_thresholds,
        "unbiased_thresholds",
        lambda predictor, fields: {name: 0.1 * len(fields) for name in predictor.class_names},
    )
    return choose_on(_Predictor(), datasets)


def test_a_class_is_chosen_on_the_data_sets_that_mark_it(monkeypatch):
    MetadataCatalog.get("few_platelets").incomplete_classes = ("Platelets",)
    chosen = _choose(monkeypatch, ["one", "two", "few_platelets"])
    assert chosen == pytest.approx({"RBC": 0.3, "Platelets": 0.2})
    assert list(chosen) == ["RBC", "Platelets"]


def test_a_class_that_none_marks_completely_is_refused(monkeypatch):
    MetadataCatalog.get("few_platelets").incomplete_classes = ("Platelets",)
    with pytest.raises(ValueError, match="no Platelets is marked"):
        _choose(monkeypatch, ["few_platelets"])
