"""The worker process of a study: ``python -m bccd.study.worker FOLDER``.

It counts and retrains, one job at a time, beside the server, and ends with it. Whatever it is
killed at, another one goes on: all it knows is in the database.
"""

import logging
import os
import sys
import threading
import time
from contextlib import suppress

from bccd.mistakes import mistake
from bccd.study import jobs
from bccd.study.counting_job import count_pending
from bccd.study.errors import StudyError
from bccd.study.retraining import retrain
from bccd.study.study import Study

DATABASE = "BCCD_STUDY_DATABASE"  # an environment variable: a URL has a password
_PAUSE = 0.3  # seconds between looks at the table of jobs
_NICE = 5

logger = logging.getLogger(__name__)


def end_with_parent() -> None:
    """End this process at once when standard input ends, as it does when its parent dies."""

    def watch():
        while os.read(0, 1):  # sys.stdin has a lock, which the end of the process waits for
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True).start()


def work(study: Study, until_idle: bool = False) -> None:
    """Do jobs, one after another.

    Args:
        study: whose jobs.
        until_idle: return when there is none, instead of waiting for the next one.
    """
    while True:
        job = _claim(study)
        if job is not None:
            _do(study, job)
        elif until_idle:
            return
        else:
            _wait(study)


def _claim(study):
    """A job to do; None: there is none. Looking for one is no change of the study."""
    with study.database.read() as connection:
        if not jobs.is_any_open(connection):
            return None
    with study.database.write() as connection:
        return jobs.claim(connection)


def _wait(study):
    """Until something in the study changes, or some seconds pass."""
    before = study.change_number()
    for _ in range(20):
        time.sleep(_PAUSE)
        if study.change_number() != before:
            return


def _do(study, job):
    result = None
    try:
        if job.kind == jobs.COUNT:
            status, message = count_pending(study, job), ""
        else:
            status, message, result = retrain(study, job)
    except Exception as error:
        sentence = str(error) if isinstance(error, StudyError) else mistake(error)
        if sentence is None:
            logger.exception("A job of the study failed")
            sentence = f"an unexpected error, {type(error).__name__}: the server's log has more"
        status, message = jobs.BROKEN, sentence
    with study.database.write() as connection:
        job = jobs.read_job(connection, job.id)
        jobs.end(connection, job.id, status, message or job.message, result)
        if job.kind == jobs.COUNT and status != jobs.DONE:
            jobs.let_go(connection, begun=True)


def main(argv: list[str] | None = None) -> None:
    """Work for the study whose folder is the one argument."""
    (folder,) = sys.argv[1:] if argv is None else argv
    end_with_parent()
    with suppress(AttributeError, OSError):
        os.nice(_NICE)  # pages come first
    with Study.open(folder, database=os.environ.get(DATABASE)) as study:
        work(study)


if __name__ == "__main__":
    main()
