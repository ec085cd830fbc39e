"""Broken annotation files never give a traceback, a hang or a silent loss.

BCCD_FUZZ=10000 runs as many cases of each format; so does ``python tools/fuzz.py``.
"""

import json
import os
import runpy
import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bccd.data.formats.registry import FORMATS
from bccd.reliability import annotation_files
from bccd.reliability.annotation_files import AnnotationFiles
from bccd.reliability.mutations import mutate_bytes, mutate_json, mutate_lines, mutate_xml
from bccd.reliability.run import CaseError, run_cases

ROOT = Path(__file__).parents[2]
CASES = int(os.environ.get("BCCD_FUZZ", "25"))
fuzz = runpy.run_path(str(ROOT / "tools/fuzz.py"))


@pytest.fixture(scope="module", params=FORMATS)
def target(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    made = AnnotationFiles((request.param,))
    made.prepare(folder)
    return made, folder


@settings(
    max_examples=CASES,
    deadline=20_000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32))
def test_a_changed_annotation_file_gives_a_result_or_a_sentence(target, seed):
    annotations, folder = target
    assert annotations.run_case(Random(seed), folder).endswith(
        ("read", "refused", "errors found", "not converted")
    )


def test_what_is_lost_without_a_word_is_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(annotation_files, "_BOXES", 4)  # as if one had been lost
    target = AnnotationFiles(("cvat",))
    target.prepare(tmp_path)
    with pytest.raises(CaseError, match="3 boxes of 4, and no word about it"):
        for number in range(30):
            target.run_case(Random(number), tmp_path)


def test_a_message_that_names_no_file_is_a_failure(tmp_path, monkeypatch):
    def read(*_):
        raise ValueError("embedded null byte")

    target = AnnotationFiles(("cvat",))
    target.prepare(tmp_path)
    monkeypatch.setattr(annotation_files, "read_dataset", read)
    with pytest.raises(CaseError, match="the message names no file: embedded null byte"):
        target.run_case(Random(1), tmp_path)


class Wrong:
    """A target of which the third case is an error and the fourth has no end."""

    def __init__(self):
        self.number = 0

    def prepare(self, folder):
        (folder / "good").mkdir()

    def run_case(self, random, folder):
        assert (folder / "good").is_dir()
        self.number += 1
        if self.number == 3:
            raise KeyError("x")
        if self.number == 4:
            time.sleep(30)
        return "read"

    def close(self):
        """Nothing was started."""


def test_errors_and_hangs_are_failures_with_their_numbers(capsys):
    summary = run_cases(Wrong, 5, first=10, seconds=0.1)
    assert summary.outcomes == {"read": 3, "failed": 2}
    (third, error), (fourth, hang) = summary.failures
    assert (third, fourth) == (12, 13)
    assert "KeyError: 'x'" in error and "no end after 0.1 seconds" in hang
    fuzz["TARGETS"]["wrong"] = Wrong
    assert fuzz["main"](["wrong", "--count", "5", "--seconds", "0.1"]) == 1
    printed = capsys.readouterr().out
    assert "case 2:\nTraceback" in printed and "wrong: 5 cases, 2 failures" in printed
    assert fuzz["main"](["wrong", "--count", "2"]) == 0


def test_the_same_number_is_the_same_case():
    for mutate, good in (
        (mutate_json, json.dumps({"a": [1, 2, {"b": "c"}], "d": 0.5})),
        (mutate_xml, '<a b="1"><c d="2">3</c></a>'),
        (mutate_lines, "0 0.5 0.25\n"),
        (mutate_bytes, b"0 0.5 0.25\n"),
    ):
        changed = [mutate(good, Random(number)) for number in range(20)]
        assert changed == [mutate(good, Random(number)) for number in range(20)]
        assert len(set(changed)) > 5
