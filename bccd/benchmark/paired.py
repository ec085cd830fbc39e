"""Two detectors timed in turn, so that whatever else the machine does meets both alike."""

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from bccd.benchmark.timing import quartiles

ROOT = Path(__file__).resolve().parents[2]
MIN_PAIRS = 5


class DetectorProcess:
    """A process with one detector in it, to be used as a context.

    Args:
        spec (dict): arguments of ``Workload``, and ``threads``.
        source (Path): checkout that it runs, with that one's own :mod:`bccd.benchmark.worker`.
    """

    def __init__(self, spec, source=ROOT):
        path = os.pathsep.join(filter(None, [str(source), os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bccd.benchmark.worker", json.dumps(spec)],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._config = spec["config_file"]
        self._answer()

    def __enter__(self):
        """Return itself."""
        return self

    def __exit__(self, *error):
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def ask(self, question):
        """``forward`` or ``train``: milliseconds; with ``peak`` before it: MiB, None if unknown.

        Raises:
            RuntimeError: the process has ended; it has printed why.
        """
        with suppress(BrokenPipeError):  # it has ended, which the missing answer tells
            self._process.stdin.write(question + "\n")
            self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            self._process.communicate()
            code = self._process.returncode
            raise RuntimeError(f"{self._config} failed (exit code {code}); its output is above")
        return json.loads(line)


def compare(first, second, run, seconds):
    """Run two processes in turn.

    Args:
        first, second (DetectorProcess): the ratio is the second's time by the first's.
        run (str): ``forward`` or ``train``.
        seconds (float): at least so long, and ``MIN_PAIRS`` pairs.

    Returns:
        dict: ``first_ms``, ``second_ms`` and ``ratio``, each as :func:`.quartiles`; the ``pairs``
        in milliseconds; ``first_peak_mib``, ``second_peak_mib``.
    """
    peaks = [process.ask(f"peak {run}") for process in (first, second)]
    pairs, end = [], time.perf_counter() + seconds
    while len(pairs) < MIN_PAIRS or time.perf_counter() < end:
        if len(pairs) % 2:  # neither is always the one after the other
            pairs.append([second.ask(run), first.ask(run)][::-1])
        else:
            pairs.append([first.ask(run), second.ask(run)])
    return {
        "first_ms": quartiles([a for a, _ in pairs]),
        "second_ms": quartiles([b for _, b in pairs]),
        "ratio": quartiles([b / a for a, b in pairs]),
        "pairs": pairs,
        "first_peak_mib": peaks[0],
        "second_peak_mib": peaks[1],
    }


@contextmanager
def worktree(revision):
    """A folder with the files of a git revision of this checkout, for as long as the context.

    Raises:
        ValueError: git does not know the revision; holds git's message.
    """
    with tempfile.TemporaryDirectory() as folder:
        git = ["git", "-C", str(ROOT), "worktree"]
        added = subprocess.run(
            [*git, "add", "--detach", folder, revision], capture_output=True, text=True
        )
        if added.returncode:
            raise ValueError(f"--against-revision {revision}: {added.stderr.strip()}")
        try:
            yield Path(folder)
        finally:
            subprocess.run([*git, "remove", "--force", folder], check=True)
