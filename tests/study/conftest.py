import pytest
from studies import count, new_study, use_detector


@pytest.fixture
def detector(monkeypatch):
    return use_detector(monkeypatch)


@pytest.fixture
def study(tmp_path, detector):
    """One field of 12 discs, counted."""
    with new_study(tmp_path) as study:
        count(study)
        yield study


@pytest.fixture
def field(study):
    """The number of its one field."""
    return study.fields().rows[0].id
