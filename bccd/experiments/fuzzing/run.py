"""Running a target on many cases: tracebacks and hangs are failures, sentences are not.

A target is what a kind of input is given to (annotation files; images, studies and requests may
follow). It makes a case of a Random; running the case ends, or raises what its command turns into a
sentence. :class:`CaseError` says that it ended wrongly.
"""

import logging
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

_SHOWN = 20  # failures that are kept with their tracebacks


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


@dataclass
class Summary:
    """What became of the cases.

    Attributes:
        outcomes: cases by what became of them.
        failures: (number of the case, what happened), the first ones.
    """

    outcomes: Counter = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)


def run_cases(
    make_target: Callable[[], Target],
    count: int,
    *,
    seed: int = 0,
    first: int = 0,
    seconds: float = 20,
    progress: Callable[[int], None] = lambda number: None,
) -> Summary:
    """Run cases ``first`` to ``first + count`` of a target.

    Args:
        make_target: of the target.
        count: number of cases.
        seed: the same seed and number give the same case.
        first: number of the first case.
        seconds: that a case may take before it counts as a hang.
        progress: is told the number of each case.
    """
    summary, target = Summary(), make_target()
    with tempfile.TemporaryDirectory() as folder, _quiet():
        target.prepare(Path(folder))
        for number in range(first, first + count):
            progress(number)
            try:
                with time_limit(seconds):
                    outcome = target.run_case(Random(f"{seed} {number}"), Path(folder))
            except Exception:
                outcome = "failed"
                if len(summary.failures) < _SHOWN:
                    summary.failures.append((number, traceback.format_exc()))
            summary.outcomes[outcome] += 1
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


@contextmanager
def _quiet():
    """No warnings on the screen, of which there would be thousands."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
