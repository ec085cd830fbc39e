"""The worker process, as the server starts it and keeps it running."""

import logging
import subprocess
import threading
from typing import TYPE_CHECKING

from bccd.study.python_process import end_process, start_module

if TYPE_CHECKING:
    from bccd.study.study import Study

_PAUSES = (1, 2, 5, 15, 60)  # seconds before a worker that ended is started again
_STEADY = 60.0  # seconds of work after which the next pause is the first again

logger = logging.getLogger(__name__)


class WorkerProcess:
    """Keeps a worker process running; it is started again when it ends."""

    def __init__(self, study: "Study") -> None:
        """Take the study.

        Args:
            study: that it works for.
        """
        self._study = study
        self._ended = threading.Event()
        self._process: subprocess.Popen | None = None
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def start(self) -> None:
        """Start it; returns at once."""
        self._thread.start()

    @property
    def pid(self) -> int | None:
        """Number of the process; None: it is not running."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def stop(self) -> None:
        """End it; what it was at goes on at the next start."""
        self._ended.set()
        if self._process is not None:
            self._process.kill()
        if self._thread.is_alive():
            self._thread.join()

    def _keep(self):
        from bccd.study.worker import DATABASE

        url = self._study.database.url
        environment = {DATABASE: url} if url else {}
        failures = 0
        while not self._ended.is_set():
            folder = str(self._study.folder)
            self._process = start_module("bccd.study.worker", folder, environment=environment)
            if self._ended.is_set():  # stop() saw the one before
                self._process.kill()
            try:
                self._process.wait(_STEADY)
            except subprocess.TimeoutExpired:
                failures = 0
                self._process.wait()
            end_process(self._process)
            if self._ended.is_set():
                return
            pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
            failures += 1
            logger.warning(f"The worker process ended; it starts again in {pause} s")
            self._ended.wait(pause)
