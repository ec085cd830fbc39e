"""The audit of dependencies says what it learnt, and never that of what it could not ask."""

import importlib.util
import runpy
from pathlib import Path

import pytest

audit = runpy.run_path(str(Path(__file__).parents[2] / "tools" / "audit.py"))
main = audit["main"]
FAULT = {"id": "CVE-1", "fix_versions": ["2.0"]}


@pytest.fixture
def lock(tmp_path):
    path = tmp_path / "requirements.lock"
    path.write_text("a==1.0\nb==1.0\n")
    return ["--lock", str(path)]


def answers(monkeypatch, *packages):
    code = main.__wrapped__.__globals__
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True)
    monkeypatch.setitem(code, "ask", lambda lock: list(packages))


@pytest.mark.parametrize("packages", [[], [{"name": "a", "skip_reason": "not found"}]])
def test_what_could_not_be_asked_is_left_out(lock, monkeypatch, capsys, packages):
    answers(monkeypatch, *packages)
    assert main(lock) == 0 and main([*lock, "--required"]) == 2
    assert "The audit is left out: the service" in capsys.readouterr().out


def test_without_pip_audit_it_is_left_out(lock, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(lock) == 0
    assert "pip install pip-audit" in capsys.readouterr().out


def test_a_vulnerability_is_printed(lock, monkeypatch, capsys):
    known = {"name": "a", "version": "1.0", "vulns": [FAULT]}
    answers(monkeypatch, known, {"name": "b", "skip_reason": "not found"})
    assert main(lock) == 1
    printed = capsys.readouterr().out
    assert "a 1.0: CVE-1, mended in 2.0" in printed and "b is not audited" in printed
    assert "1 of 2 packages are audited, 1 vulnerabilities" in printed


def test_no_vulnerability_is_status_0(lock, monkeypatch):
    answers(monkeypatch, {"name": "a", "version": "1.0", "vulns": []})
    assert main(lock) == 0


def test_a_lock_file_that_is_missing_is_said(tmp_path, capsys):
    assert main(["--lock", str(tmp_path / "none")]) == 2
    assert "does not exist" in capsys.readouterr().err
