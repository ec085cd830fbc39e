"""Processes of this program beside the one that runs."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import bccd

_STANDARD_ERROR = 2


def start_module(
    name: str, *arguments: str, answers: bool = False, environment: dict | None = None
) -> subprocess.Popen:
    """Start ``python -m name`` with a pipe to it, whose end tells it that this process is gone.

    Args:
        name: of a module of this very copy of the project, whatever the working directory is.
        arguments: of its command line.
        answers: its standard output is a pipe, which must be read; without, it goes to standard
            error: a process that nobody listens to would wait for ever once the pipe is full.
        environment: more variables.
    """
    above = str(Path(bccd.__file__).resolve().parents[1])
    path = os.pathsep.join(filter(None, [above, os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", name, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if answers else _STANDARD_ERROR,
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
        start_new_session=True,  # Ctrl-C at the terminal is for the server, which ends it in order
    )


def end_process(process: subprocess.Popen) -> None:
    """End a process that :func:`start_module` started, if it still runs, and its pipes."""
    process.kill()
    for pipe in filter(None, (process.stdin, process.stdout)):
        with contextlib.suppress(OSError):  # what was not sent any more
            pipe.close()
    process.wait()
