"""Two detectors timed alternately, so that other load on the machine affects both equally."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

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


def time_pairs(
    first: DetectorProcess, second: DetectorProcess, run: str, seconds: float, least: int
) -> dict:
    """Time two processes alternately.

    Args:
        first, second: as they stand in the results.
        run: ``forward`` or ``train``.
        seconds: measuring time.
        least: pairs that are measured however long they take.

    Returns:
        dict: ``pairs``, milliseconds of the first and the second; ``peaks``, MiB of each.
    """
    peaks = [process.ask(f"peak {run}") for process in (first, second)]
    pairs, end = [], time.perf_counter() + seconds
    while len(pairs) < least or time.perf_counter() < end:
        if len(pairs) % 2:  # neither is always the one after the other
            pairs.append([second.ask(run), first.ask(run)][::-1])
        else:
            pairs.append([first.ask(run), second.ask(run)])
    return {"pairs": pairs, "peaks": peaks}


def join_starts(starts: Sequence[dict]) -> dict:
    """One comparison of what :func:`time_pairs` measured with processes that were started anew.

    Two processes with the same code differ by several percent in time and memory for as long as
    they live, because their memory is laid out differently. Only more starts show that.

    Returns:
        dict: ``first_ms``, ``second_ms`` and ``ratio``, the second's time by the first's, each as
        :func:`.quartiles` over the pairs of all starts; ``start_ratios``, the median of each
        start; the ``pairs`` in milliseconds; ``first_peak_mib`` and ``second_peak_mib``, medians
        of the starts, None where unknown.
    """
    pairs = [pair for start in starts for pair in start["pairs"]]
    return {
        "first_ms": quartiles([a for a, _ in pairs]),
        "second_ms": quartiles([b for _, b in pairs]),
        "ratio": quartiles([b / a for a, b in pairs]),
        "start_ratios": [median(b / a for a, b in start["pairs"]) for start in starts],
        "pairs": pairs,
        "first_peak_mib": _median_or_none([start["peaks"][0] for start in starts]),
        "second_peak_mib": _median_or_none([start["peaks"][1] for start in starts]),
    }


def _median_or_none(values):
    return None if None in values else median(values)


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
