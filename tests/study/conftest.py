import pytest
from studies import count, new_study, use_detector

from bccd.study import pictures
from bccd.study.decoder import Decoders


class KeptDecoders(Decoders):
    """Processes that read images, for all tests: starting them takes longer than most tests."""

    def close(self):
        """Stay for the next study."""


@pytest.fixture(scope="session")
def kept_decoders():
    kept = KeptDecoders(2)
    yield kept
    Decoders.close(kept)


@pytest.fixture(autouse=True)
def _decoders(monkeypatch, kept_decoders):
    monkeypatch.setattr(pictures, "Decoders", lambda number: kept_decoders)


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
