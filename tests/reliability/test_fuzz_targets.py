"""Broken images, checkpoints, studies and requests: a result or a sentence; all else is found.

``python tools/fuzz.py images checkpoints studies requests --count 10000`` runs many more.
"""

import json
import os
import runpy
from pathlib import Path

import pytest

from bccd.reliability import checkpoint_files, image_files, requests, study_files
from bccd.reliability.run import CaseError, check_sentence, run_cases

ROOT = Path(__file__).parents[2]
fuzz = runpy.run_path(str(ROOT / "tools/fuzz.py"))
CASES = {
    image_files.ImageFiles: 60,
    checkpoint_files.CheckpointFiles: 60,
    study_files.StudyFiles: 25,
    requests.Requests: 80,
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("target", CASES, ids=lambda target: target.__name__)
def test_broken_input_gives_a_result_or_a_sentence(target):
    summary = run_cases(target, CASES[target], seconds=60)
    assert summary.failures == []
    assert sum(summary.outcomes.values()) == CASES[target] and len(summary.outcomes) > 1


def failures(target, count, match):
    """The first failure of each of some cases, all of which must say ``match``."""
    summary = run_cases(target, count, seconds=60)
    assert summary.failures and all(match in text for _, text in summary.failures)
    return [number for number, _ in summary.failures]


def test_a_size_that_pixels_do_not_have_is_a_failure(monkeypatch):
    read = image_files.read_rgb
    monkeypatch.setattr(image_files, "read_rgb", lambda source: read(source)[1:])
    failures(image_files.ImageFiles, 12, "and pixels of")


def test_a_file_that_runs_code_is_a_failure(monkeypatch):
    torch = checkpoint_files.torch

    def load(self, path):
        try:
            torch.load(path, weights_only=False)
        except Exception as error:
            raise ValueError("damaged") from error

    monkeypatch.setattr(checkpoint_files.CheckpointFiles, "_load", load)
    monkeypatch.setattr(checkpoint_files, "check_sentence", lambda *_: None)
    found = run_cases(checkpoint_files.CheckpointFiles, 80).failures
    assert any("the file ran code" in text for _, text in found)


def test_a_correction_that_is_gone_is_a_failure(monkeypatch):
    logs = iter([[(1,), (2,)], [(1,)]] * 5)
    monkeypatch.setattr(study_files, "read_log", lambda folder: next(logs))
    monkeypatch.setattr(study_files.StudyFiles, "_use", lambda *_: "read")
    assert failures(study_files.StudyFiles, 3, "2 corrections, then 1") == [0, 1, 2]


class Crashing(requests.Requests):
    """To an application that fails at everything, or answers what it should not."""

    answer = (500, b"Internal Server Error")

    def run_case(self, random, folder):
        async def app(scope, receive, send):
            status, body = self.answer
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": body})

        request = requests.Request("GET", "/api/fields")
        requests.check_answer(requests.ask(app, request))
        return "answered"

    def prepare(self, folder):
        """Nothing."""


@pytest.mark.parametrize(
    ("answer", "match"),
    [((500, b"Internal"), "status 500"), ((404, b"<p>"), "a refusal as"), ((0, b""), "status 0")],
)
def test_an_answer_that_no_server_should_give_is_a_failure(monkeypatch, answer, match):
    monkeypatch.setattr(Crashing, "answer", answer)
    failures(Crashing, 1, match)


class Printing(requests.Requests):
    """Prints a traceback, or takes memory."""

    def prepare(self, folder):
        """Nothing."""

    def run_case(self, random, folder):
        if self.memory:
            self.kept = bytearray(self.memory)
        else:
            os.write(2, b"Traceback (most recent call last):\n  KeyError: 'x'\n")
        return "read"


def test_printed_tracebacks_and_memory_are_failures(monkeypatch):
    monkeypatch.setattr(Printing, "memory", 0, raising=False)
    failures(Printing, 2, "KeyError: 'x'")
    if Path("/proc/self/clear_refs").exists():
        monkeypatch.setattr(Printing, "memory", 300 * 2**20)
        summary = run_cases(Printing, 1, megabytes=100)
        assert "MB of memory" in summary.failures[0][1] and summary.megabytes > 250


def test_time_ends_a_run(monkeypatch):
    monkeypatch.setattr(Printing, "memory", 1, raising=False)
    assert sum(run_cases(Printing, 5, minutes=0).outcomes.values()) == 1


@pytest.mark.parametrize("text", ["", "  ", "Traceback (most recent call last)", "x" * 3000])
def test_what_is_no_sentence(text):
    with pytest.raises(CaseError, match="no sentence"):
        check_sentence(text)


def test_the_command_records_and_runs_one_case_again(tmp_path, capsys):
    path = tmp_path / "results" / "fuzz.json"
    assert fuzz["main"](["formats", "--case", "7", "--output", str(path)]) == 0
    assert "formats: 1 cases, 0 failures" in capsys.readouterr().out
    found = json.loads(path.read_text())["formats"]
    assert (found["cases"], found["failed"], found["failures"]) == (1, 0, [])
    assert {"machine", "command", "date", "outcomes", "longest_case_seconds"} <= found.keys()
