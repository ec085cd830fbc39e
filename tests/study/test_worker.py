import json
import os
import random
import signal
import time

import cv2
import numpy as np
import pytest
from disc_detector import draw_field
from sqlalchemy import select, update
from studies import count, draw, new_study

from bccd import model_zoo
from bccd.study import Study, StudyError, jobs, retraining, tables, worker_process
from bccd.study.uploads import Uploads
from bccd.study.worker import work
from bccd.study.worker_process import WorkerProcess


def test_fields_are_counted_with_progress(tmp_path, detector):
    with new_study(tmp_path, 3) as study:
        job = study.count("Lan")
        assert (job.status, job.total) == ("waiting", 3)
        assert {row.status for row in study.fields().rows} == {"pending"}
        work(study, until_idle=True)
        (job,) = study.jobs()
        assert (job.status, job.done, job.total) == ("done", 3, 3) and job.finished
        assert study.totals().counts["RBC"] == 36 and study.totals().counted == 3
        with pytest.raises(StudyError, match="counted with these settings already"):
            study.count("Lan")


def test_a_worker_without_work_changes_nothing(study):
    before = study.change_number()
    work(study, until_idle=True)
    assert study.change_number() == before


def test_a_changed_setting_lets_fields_be_counted_again(study):
    study.change_settings("Lan", red_cell_diameter=90.0)
    assert study.count("Lan").total == 1


def test_a_job_that_waits_takes_more_fields(tmp_path, detector):
    with new_study(tmp_path, 3) as study:
        ids = [row.id for row in study.fields().rows]
        first = study.count("Lan", ids[:1])
        second = study.count("Minh", ids[1:])
        assert second.id == first.id and second.total == 3


def test_an_image_that_cannot_be_read_costs_itself_alone(tmp_path, detector):
    with new_study(tmp_path, 2) as study:
        cut = tmp_path / "fields" / "cut.jpg"
        jpeg = cv2.imencode(".jpg", draw_field(9, 12, 30))[1].tobytes()
        cut.write_bytes(jpeg[:-3000])
        narrow = tmp_path / "fields" / "narrow.png"
        cv2.imwrite(str(narrow), np.full((2, 400, 3), 255, np.uint8))
        study.add([cut, narrow], "Lan")
        gone = draw(tmp_path / "gone")[0]
        study.add([gone], "Lan")
        gone.unlink()
        count(study)
        errors = {row.name: row.error for row in study.fields(status="failed").rows}
        assert study.totals().counted == 2 and set(errors) == {"cut.jpg", "narrow.png", gone.name}
        assert "truncated" in errors["cut.jpg"] and "show no cell" in errors["narrow.png"]
        assert "does not exist" in errors[gone.name]
        assert study.jobs()[0].status == "done"


def test_a_field_that_could_not_be_counted_is_not_accepted_as_empty(tmp_path, detector):
    with new_study(tmp_path, 1) as study:
        cut = tmp_path / "fields" / "cut.jpg"
        cut.write_bytes(cv2.imencode(".jpg", draw_field(9, 12, 30))[1].tobytes()[:-3000])
        study.add([cut], "Lan")
        count(study)
        (row,) = study.fields(status="failed").rows
        with pytest.raises(StudyError, match="draw its cells, or remove it"):
            study.edit(row.id, "Lan", [{"do": "accept"}], row.version)
        drawn = {"do": "add", "name": "RBC", "box": [1, 1, 30, 30]}
        accepted = study.edit(row.id, "Lan", [drawn, {"do": "accept"}], row.version)
        assert accepted.row.counts["RBC"] == 1 and accepted.row.reviewed_by == "Lan"


def test_a_cancelled_job_leaves_fields_as_they_were(tmp_path, detector):
    with new_study(tmp_path, 3) as study:
        job = study.count("Lan")
        study.cancel(job.id, "Minh")
        assert study.jobs()[0].status == "cancelled"
        assert {row.status for row in study.fields().rows} == {"new"}
        job = study.count("Lan")
        detect, seen = detector.detect_resized, []

        def cancelling(image):
            if not seen:
                study.cancel(job.id, "Minh")
            seen.append(True)
            return detect(image)

        detector.detect_resized = cancelling
        work(study, until_idle=True)
        assert study.jobs()[0].status == "cancelled"
        assert sorted(row.status for row in study.fields().rows) == ["counted", "new", "new"]


def test_a_model_that_cannot_be_used_is_said(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"no model")
    with new_study(tmp_path, 1) as study:
        study.change_settings("Lan", model=study.add_model(model))
        count(study)
        (job,) = study.jobs()
        assert job.status == "failed" and "model.onnx cannot be used" in job.message
        assert study.fields().rows[0].status == "new"
        with pytest.raises(StudyError, match="does not exist"):
            study.add_model(tmp_path / "nothing.onnx")


def test_a_field_that_ends_the_worker_again_and_again_is_given_up(study, field):
    study.count("Lan", [field])
    for attempt in range(1, jobs.MOST_ATTEMPTS + 1):
        with study.database.write() as connection:
            assert jobs.claim(connection) is not None
            begun = {"status": "running", "attempts": attempt}
            connection.execute(update(tables.fields).values(**begun))
            connection.execute(update(tables.jobs).values(worker="elsewhere/1", beat=0.0))
    work(study, until_idle=True)
    row = study.fields().rows[0]
    assert row.status == "failed" and "again and again" in row.error
    assert row.counts["RBC"] == 12  # what was found before is not lost


def test_one_of_two_workers_gets_a_job(tmp_path, detector):
    with new_study(tmp_path) as study:
        study.count("Lan")
        with study.database.write() as connection:
            assert jobs.claim(connection) is not None
            worker = f"elsewhere/{os.getpid()}"
            connection.execute(update(tables.jobs).values(worker=worker))
        with study.database.write() as connection:
            assert jobs.claim(connection) is None  # the other one gave a sign of life just now


def wait_for(condition, seconds=120.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.05)


def test_a_worker_that_is_killed_at_any_moment_goes_on(tmp_path, monkeypatch):
    """With a detector in ONNX Runtime, in processes of their own."""
    monkeypatch.setattr(worker_process, "_PAUSES", (0,))
    model = model_zoo.find_export("ssd_lite")
    chance = random.Random(1)
    with Study.open(tmp_path / "study", create=True) as study:
        study.change_settings("Lan", model=study.add_model(model))
        paths = draw(tmp_path / "fields", 8, rows=2, columns=3, diameter=100)
        study.allow_folder(tmp_path)
        study.add(paths, "Lan")
        study.count("Lan")
        first = study.fields().rows[0].id
        box = {"do": "add", "name": "WBC", "box": [1, 1, 30, 30]}
        study.edit(first, "Lan", [box], study.field(first).row.version)
        worker = WorkerProcess(study)
        worker.start()
        try:
            for kills in range(3):
                wait_for(lambda kills=kills: study.totals().counted > kills)
                time.sleep(0.2 * chance.random())
                if worker.pid:
                    os.kill(worker.pid, signal.SIGKILL)
            wait_for(lambda: study.jobs()[0].status == "done")
        finally:
            worker.stop()
        totals = study.totals()
        assert (totals.counted, totals.failed, totals.pending) == (8, 0, 0)
        counts = [row.model_counts for row in study.fields().rows]
        assert counts == counts[:1] * 8 and sum(counts[0].values()) > 0  # the same image
        assert study.field(first).row.counts["WBC"] == counts[0]["WBC"] + 1
        with study.database.read() as connection:
            packed = set(connection.scalars(select(tables.detections.c.packed)))
            assert len(packed) == 1


def test_an_image_that_kills_its_decoder_costs_itself_alone(tmp_path, detector, monkeypatch):
    from bccd.study import decoder

    ask = decoder.Decoder.ask

    def dying(self, request):
        if request["do"] == "pixels" and "field 0" in request["path"]:
            self._started().kill()
            self._process.wait()
            process, self._started = self._process, lambda: process
            try:
                return ask(self, request)
            finally:
                del self._started
        return ask(self, request)

    monkeypatch.setattr(decoder.Decoder, "ask", dying)
    with new_study(tmp_path, 3) as study:
        count(study)
        first, *others = study.fields().rows
        assert first.status == "failed" and "program that reads images ended" in first.error
        assert [row.status for row in others] == ["counted"] * 2


def test_the_server_ends_its_worker(tmp_path):
    with new_study(tmp_path) as study:
        worker = WorkerProcess(study)
        worker.start()
        wait_for(lambda: worker.pid)
        pid = worker.pid
        worker.stop()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_retrained_model_can_be_chosen(tmp_path, detector, monkeypatch):
    """The steps around a training; tests/experiments has the training itself."""
    card = {
        "name": "lab",
        "class_names": ["RBC", "WBC", "Platelets"],
        "operating_points": {},
        "config": {"COUNTING": {"THRESHOLDS": [0.6, 0.6, 0.6]}},
        "calibration": {
            "errors": {},
            "thresholds": {},
            "expected_diameter": {"reason": ""},
            "fine_tuning": {"reason": ""},
            "intervals": {"reason": ""},
            "fields": 2,
            "correct": {},
            "unchanged": 0,
            "left_out": [],
        },
    }

    def train(study, job, folder, output):
        assert len(json.loads((folder / "fields.json").read_text())["images"]) == 2
        output.mkdir(parents=True)
        (output / "lab.json").write_text(json.dumps(card))
        return True

    monkeypatch.setattr(retraining, "_train", train)
    with new_study(tmp_path, 2) as study:
        count(study)
        with pytest.raises(StudyError, match="0 fields are accepted"):
            study.retrain("Lan", "lab")
        for row in study.fields().rows:
            study.edit(row.id, "Lan", [{"do": "accept"}], row.version)
        study.retrain("Lan", "lab")
        with pytest.raises(StudyError, match="made already"):
            study.retrain("Lan", "lab")
        work(study, until_idle=True)
        job = study.jobs()[0]
        assert job.status == "done" and job.result["model"] == "models/lab"
        (made,) = [model for model in study.models() if model.made_here]
        study.change_settings("Lan", model=made.id)
        assert [each.threshold for each in study.classes()] == [0.6] * 3
        assert not (study.folder / "retraining" / str(job.id)).exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_thresholds_are_chosen_on_accepted_fields(tmp_path):
    """A whole calibration without fine-tuning, of an exported model."""
    model = model_zoo.find_export("ssd_lite")
    with Study.open(tmp_path / "study", create=True) as study:
        study.change_settings("Lan", model=study.add_model(model))
        study.allow_folder(tmp_path)
        paths = [draw(tmp_path / str(k), rows=2, columns=3 + k, diameter=100)[0] for k in range(3)]
        study.add(paths, "Lan")
        count(study)
        for row in study.fields().rows:
            study.edit(row.id, "Lan", [{"do": "accept"}], row.version)
        study.retrain("Lan", "lab", fine_tune=False)
        work(study, until_idle=True)
        job = study.jobs()[0]
        assert job.status == "done", job.message
        assert job.result["before_after"][0][0] == "class" and job.result["sentences"]
        study.change_settings("Lan", model=job.result["model"])
        count(study)
        assert study.jobs()[0].status == "done"


def test_uploads_are_counted(tmp_path, detector):
    with Study.open(tmp_path / "study", create=True) as study:
        content = cv2.imencode(".png", draw_field(3, 4, 90))[1].tobytes()
        Uploads(study).receive("field.png", content, "Lan")
        count(study)
        assert study.totals().counts["RBC"] == 12
