"""Two detectors timed alternately, so that other load on the machine affects both equally."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bccd.benchmark.timing import quartiles

ROOT = Path(__file__).resolve().parents[2]
MIN_PAIRS = 5


class DetectorProcess:
    """A process that runs one detector. Use it as a context manager.

    Args:
        spec: arguments of ``Workload``, and ``threads``.
        source: the checkout whose code, and :mod:`bccd.benchmark.worker`, the process runs.
    """

    def __init__(self, spec: dict, source: Path = ROOT) -> None:
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

    def __enter__(self) -> "DetectorProcess":
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def ask(self, question: str) -> float | None:
        """Run the detector once and return what it took.

        Args:
            question: ``forward`` or ``train`` for milliseconds; ``peak forward`` or ``peak train``
                for MiB of memory, None where the system does not tell.

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


def compare(first: DetectorProcess, second: DetectorProcess, run: str, seconds: float) -> dict:
    """Time two processes alternately.

    Args:
        first, second: the ratio is the second's time by the first's.
        run: ``forward`` or ``train``.
        seconds: measuring time; at least ``MIN_PAIRS`` pairs are measured.

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
def worktree(revision: str) -> Iterator[Path]:
    """A folder with the files of a git revision of this checkout, inside the ``with`` block.

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
