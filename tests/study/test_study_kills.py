"""A server that is killed at any moment loses nothing that it has acknowledged."""

import os
import random
import signal
import time

import pytest
from studies import count, new_study

from bccd.study import Study
from bccd.study.python_process import start_module


def kill_while_editing(study_folder, field, kills, chance):
    """Numbers of the corrections that processes acknowledged before they were killed."""
    acknowledged = []
    for _ in range(kills):
        process = start_module("edit_for_ever", str(study_folder), str(field), answers=True)
        first = process.stdout.readline()
        acknowledged.append(int(first))
        time.sleep(0.15 * chance.random())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines(keepends=True)
        acknowledged += [int(line) for line in rest if line.endswith(b"\n")]
        process.stdin.close()
        process.stdout.close()
        process.wait()
    return acknowledged


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.slow)])
def test_no_acknowledged_correction_is_lost(tmp_path, detector, monkeypatch, kills):
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(__file__))
    with new_study(tmp_path) as study:
        count(study)
        field = study.fields().rows[0].id
    acknowledged = kill_while_editing(study.folder, field, kills, random.Random(kills))
    with Study.open(study.folder) as study:
        found = study.field(field)
        stored = {int(box.box[0]) for box in found.boxes if box.name == "WBC"}
        assert set(acknowledged) <= stored and len(stored) - len(acknowledged) <= kills
        assert found.row.counts["WBC"] == len(stored) == found.row.corrected
        assert [entry.kind for entry in found.history] == ["edit"] * len(stored)
        with study.database.read() as connection:
            check = connection.exec_driver_sql("PRAGMA integrity_check").scalar()
        assert check == "ok"
