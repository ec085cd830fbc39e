"""Retraining a model on the fields that were accepted: ``bccd calibrate`` as a job.

What helps is chosen on fields that are held back, and compared with what was before; see
:mod:`bccd.experiments.calibration`. The training is a process of its own, so that it can be
cancelled; it goes on where it was killed.
"""

import contextlib
import json
import logging
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
from sqlalchemy import Row, select

from bccd.counting.coco_file import CocoFile
from bccd.mistakes import mistake
from bccd.study import jobs, tables
from bccd.study.errors import StudyError
from bccd.study.model_files import MODELS, model_path
from bccd.study.python_process import end_process, start_module
from bccd.study.settings import ModelFacts, write_model

if TYPE_CHECKING:
    from bccd.study.study import Study

FOLDER = "retraining"
_FIELDS, _IMAGES = "fields.json", "images"
_SAYS, _FAILED = "says", "failed"  # kinds of lines that the process of the training prints
ITERATIONS = 120  # of each training of a fine-tuning, as bccd calibrate has
_TRAININGS = 4  # of a fine-tuning: three with a part held back, one on all fields
_PAUSE = 1.0

logger = logging.getLogger(__name__)


def retrain(study: "Study", job: Row) -> tuple[str, str, dict | None]:
    """Retrain as a job asks for it.

    Args:
        study: its accepted fields are learnt from.
        job: its ``wanted`` has the name of the new model, the model to start from, and whether a
            fine-tuning is tried.

    Returns:
        status and message that the job ends with, and its result: ``model`` for the settings, its
        ``card``, ``before_after`` as rows below a header, and ``sentences`` on what was done.

    Raises:
        StudyError: it failed; the message says why.
    """
    wanted, folder = job.wanted, study.folder / FOLDER / str(job.id)
    folder.mkdir(parents=True, exist_ok=True)
    if not _go_on(study, job, 0, 0, "reading the accepted fields"):
        return jobs.CANCELLED, "cancelled", None
    if not (folder / _FIELDS).is_file():
        write_fields(study, folder)
    model = f"{MODELS}/{wanted['name']}"
    card_file = study.folder / model / f"{wanted['name']}.json"
    if not _train(study, job, folder, study.folder / model):
        shutil.rmtree(study.folder / model, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        return jobs.CANCELLED, "cancelled", None
    card = json.loads(card_file.read_text(encoding="utf-8"))
    with study.database.write() as connection:
        facts = ModelFacts.of_card(card)
        write_model(connection, model, title=wanted["name"], facts=facts, card=card, made_here=True)
    shutil.rmtree(folder, ignore_errors=True)
    return jobs.DONE, f"the model {wanted['name']} can be chosen", _result(model, card)


def _result(model, card):
    from bccd.experiments.calibration.card import errors_table, fine_tuning_table, sentences

    found = card["calibration"]
    tables_ = {"before_after": errors_table(found["errors"], found["thresholds"])}
    if "AP" in found["fine_tuning"]:
        tables_["fine_tuning"] = fine_tuning_table(found["fine_tuning"])
    return {"model": model, "card": card, **tables_, "sentences": sentences(found)}


def write_fields(study: "Study", folder: Path) -> None:
    """Write the accepted fields as images, and their cells as a COCO file.

    Args:
        study: of the fields.
        folder: for ``fields.json`` and ``images``.

    Raises:
        StudyError: an image cannot be read.
    """
    table, images = tables.fields.c, folder / _IMAGES
    images.mkdir(exist_ok=True)
    with study.database.read() as connection:
        accepted = table.reviewed_at.is_not(None) & table.removed.is_(False)
        ids = connection.scalars(select(table.id).where(accepted).order_by(table.id)).all()
    colors = {each.name: each.color for each in study.classes()}
    numbers = {name: number for number, name in enumerate(colors, start=1)}
    unfinished = folder / f".{_FIELDS}"
    coco = CocoFile(unfinished, colors, {"description": f"corrected in the study {study.name}"})
    with study.pictures.decoders.one() as decoder:
        for field_id in ids:
            image, _ = decoder.pixels(study.source(field_id))
            name = f"{field_id}.png"
            cv2.imwrite(str(images / name), image)
            height, width = image.shape[:2]
            about = {"id": field_id, "file_name": name, "width": width, "height": height}
            boxes = [box for box in study.field(field_id).boxes if box.name in numbers]
            coco.add(about, [_detection(box, numbers) for box in boxes])
    coco.close()
    unfinished.rename(folder / _FIELDS)


def _detection(box, numbers):
    left, top, right, bottom = box.box
    corners = [round(value, 3) for value in (left, top, right - left, bottom - top)]
    return {"category_id": numbers[box.name], "bbox": corners}


def _train(study, job, folder, output) -> bool:
    """Calibrate in another process; whether that was not cancelled."""
    plan = {
        "model": model_path(study.folder, job.wanted["model"]),
        "data": str(folder / _FIELDS),
        "images": str(folder / _IMAGES),
        "name": job.wanted["name"],
        "fine_tune": job.wanted["fine_tune"],
        "iterations": ITERATIONS,
        "output": str(output),
    }
    plan_file, said = folder / "plan.json", folder / "said.jsonl"
    plan_file.write_text(json.dumps(plan))
    said.unlink(missing_ok=True)
    process = start_module("bccd.study.retraining", str(plan_file), str(said))
    try:
        while process.poll() is None:
            done, total = _iterations(output)
            if not _go_on(study, job, done, total, _last(said, _SAYS) or "starting"):
                return False
            time.sleep(_PAUSE)
    finally:
        end_process(process)
    if process.returncode:
        raise StudyError(_last(said, _FAILED) or "the training ended unexpectedly: see the log")
    return True


def _go_on(study, job, done, total, message):
    with study.database.write() as connection:
        return jobs.report(connection, job.id, done, total, message)


def _last(said, kind):
    """The last line of a kind that the process of the training wrote."""
    last = None
    with contextlib.suppress(OSError, ValueError):  # a line that is half written is the last one
        for line in said.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            last = entry.get(kind, last)
    return last


def _iterations(output: Path) -> tuple[int, int]:
    """How far a fine-tuning is, and all iterations of it; 0 of 0 where there is none."""
    done = 0
    trainings = list((output / "calibration" / "fine_tuning").glob("*/training"))
    for training in trainings:
        last = 0
        with contextlib.suppress(OSError, ValueError, KeyError, IndexError):
            lines = (training / "metrics.json").read_text().splitlines()
            last = json.loads(lines[-1])["iteration"] + 1
        done += ITERATIONS if (training / "model_final.pth").is_file() else last
    return (done, _TRAININGS * ITERATIONS) if trainings else (0, 0)


class _Says(logging.Handler):
    """Writes what is logged where the worker process reads it."""

    def __init__(self, file):
        super().__init__(logging.INFO)
        self._file = file

    def emit(self, record):
        say(self._file, _SAYS, record.getMessage())


def say(file: Path, kind: str, text: str) -> None:
    """Append a line to what the process of a training says."""
    with open(file, "a", encoding="utf-8") as out:
        out.write(json.dumps({kind: " ".join(text.split())[:300]}) + "\n")


def main(argv: list[str] | None = None) -> int:
    """The process of a training: its plan, and the file for what it says."""
    from bccd.counting.load import ModelChoice
    from bccd.experiments.calibration.run import Plan, calibrate
    from bccd.study.worker import end_with_parent

    end_with_parent()
    plan_file, said = map(Path, sys.argv[1:] if argv is None else argv)
    wanted = json.loads(plan_file.read_text())
    logging.getLogger("bccd.experiments.calibration").addHandler(_Says(said))
    logging.getLogger("bccd.experiments.calibration").setLevel(logging.INFO)
    plan = Plan(
        wanted["data"],
        wanted["name"],
        wanted["images"],
        all_fields=True,
        fine_tune=wanted["fine_tune"],
        iterations=wanted["iterations"],
    )
    try:
        choice = ModelChoice(model=wanted["model"])
        calibrate(choice, plan, Path(wanted["output"]), command="bccd serve")
    except Exception as error:
        sentence = mistake(error)
        if sentence is None:
            logger.exception("The training failed")
            sentence = f"an unexpected error, {type(error).__name__}: the server's log has more"
        say(said, _FAILED, sentence)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
