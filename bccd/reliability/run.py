"""Running a target on many cases: tracebacks, hangs and memory without bound are failures.

A target is what a kind of input is given to. It makes a case of a Random; running the case ends, or
raises what its command turns into a sentence. :class:`CaseError` says that it ended wrongly.
"""

import contextlib
import math
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

_SHOWN = 20  # failures that are kept with their tracebacks
_TRACEBACK = "Traceback (most recent call last)"
_STATUS = Path("/proc/self/status")  # of Linux; elsewhere memory is not watched


class CaseError(Exception):
    """A case ended, but wrongly: something was lost without a word, or a sentence says nothing."""


class Target(Protocol):
    """A kind of input."""

    def prepare(self, folder: Path) -> None:
        """Write the good inputs to a folder."""

    def run_case(self, random: Random, folder: Path) -> str:
        """Make one bad input below ``folder`` and give it to the program.

        Returns:
            what became of it, in a word or two, for the summary.

        Raises:
            CaseError: the program did something wrong. Any other error is a traceback to a user.
        """

    def close(self) -> None:
        """End what it started."""


@dataclass
class Summary:
    """What became of the cases.

    Attributes:
        outcomes: cases by what became of them.
        failures: (number of the case, what happened), the first ones.
        seconds: of the longest case.
        megabytes: by which the memory of this process grew at most within a case.
    """

    outcomes: Counter = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)
    seconds: float = 0.0
    megabytes: float = 0.0

    def to_json(self) -> dict:
        """The numbers, for a file."""
        return {
            "cases": sum(self.outcomes.values()),
            "failed": self.outcomes["failed"],
            "outcomes": dict(sorted(self.outcomes.items())),
            "failures": [number for number, _ in self.failures],
            "longest_case_seconds": round(self.seconds, 1),
            "most_memory_megabytes": round(self.megabytes),
        }


def run_cases(
    make_target: Callable[[], Target],
    count: int,
    *,
    seed: int = 0,
    first: int = 0,
    seconds: float = 20,
    megabytes: float = 2048,
    minutes: float = math.inf,
    progress: Callable[[int], None] = lambda number: None,
) -> Summary:
    """Run cases ``first`` to ``first + count`` of a target.

    Args:
        make_target: of the target.
        count: number of cases.
        seed: the same seed and number give the same case.
        first: number of the first case.
        seconds: that a case may take before it counts as a hang.
        megabytes: by which a case may make this process grow.
        minutes: after which no further case begins.
        progress: is told the number of each case.
    """
    summary, target = Summary(), make_target()
    ends = time.monotonic() + 60 * minutes
    with _printed() as printed, tempfile.TemporaryDirectory() as folder, closing(target):
        target.prepare(Path(folder))
        for number in range(first, first + count):
            progress(number)
            began, before = time.monotonic(), _start_of_peak()
            try:
                with time_limit(seconds):
                    outcome = target.run_case(Random(f"{seed} {number}"), Path(folder))
                grown = _peak() - before
                summary.megabytes = max(summary.megabytes, grown)
                if grown > megabytes:
                    raise CaseError(f"{grown:.0f} MB of memory")
                if _TRACEBACK in (text := printed()):
                    raise CaseError(f"a traceback was printed:\n{text[text.index(_TRACEBACK) :]}")
            except Exception:
                outcome = "failed"
                printed()
                if len(summary.failures) < _SHOWN:
                    summary.failures.append((number, traceback.format_exc()))
            summary.seconds = max(summary.seconds, time.monotonic() - began)
            summary.outcomes[outcome] += 1
            if time.monotonic() > ends:
                break
    return summary


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise CaseError in the ``with`` block once it has taken so long; in the main thread alone."""

    def stop(*_):
        raise CaseError(f"no end after {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def check_sentence(text: str, names: tuple[str, ...] = ()) -> None:
    """Raise CaseError for a message that is none for a person, or has none of ``names`` in it."""
    if "Traceback" in text or len(text) > 2000 or not text.strip():
        raise CaseError(f"the message is no sentence: {text[:2000]}")
    if names and not any(name in text for name in names):
        raise CaseError(f"the message names no file: {text}")


def _start_of_peak() -> float:
    """Megabytes that this process takes now; its peak is measured from here on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> float:
    """The most megabytes that this process took since then; 0: unknown."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@contextmanager
def _printed():
    """Keep what this process and its children print; gives a function that takes it."""
    sys.stdout.flush()
    saved = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as file:

        def take():
            file.seek(0)
            text = file.read().decode(errors="replace")
            file.truncate(0)
            return text

        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield take
        finally:
            for number, copy in enumerate(saved, start=1):
                os.dup2(copy, number)
                os.close(copy)
