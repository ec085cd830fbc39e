"""Killing a process at random moments, and comparing what it comes to with an unkilled one.

SIGKILL leaves a process no chance to tidy up, as a power cut or the kernel's want of memory. What
is killed begins again from what lies in its folder, as a person would begin it again.
"""

import multiprocessing
import os
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol

_MOST_EACH = 4  # kills of one work; a study gives a field up at which five workers have died
_PRINTED, _SHOWN = "printed.txt", 2000  # characters of it
_PATIENCE = 20  # times as long as unkilled, after which a work hangs


class Work(Protocol):
    """Something that is killed."""

    def prepare(self, folder: Path) -> None:
        """Write what it starts from into a new folder."""

    def run(self, folder: Path) -> None:
        """Do all that is left to do; in a process of its own, which may die at any moment."""

    def result(self, folder: Path) -> dict[str, object]:
        """What it has come to, by name; what is compared."""


@dataclass
class Kills:
    """What became of a work that was killed.

    Attributes:
        kills: number of them.
        works: that were done from their start to their end, with some kills in each.
        seconds: of the unkilled one.
        moments: of the kills, as shares of that time.
        different: (number of the work, what of its result was another), at most one each.
    """

    kills: int = 0
    works: int = 0
    seconds: float = 0.0
    moments: list[float] = field(default_factory=list)
    different: list[tuple[int, str]] = field(default_factory=list)

    def to_json(self) -> dict:
        """The numbers, for a file."""
        moments = [round(moment, 2) for moment in self.moments]
        return {
            "kills": self.kills,
            "works": self.works,
            "different": [list(each) for each in self.different],
            "unkilled_seconds": round(self.seconds, 1),
            "moments": moments,
        }


def kill_work(
    work: Work,
    folder: Path,
    kills: int,
    *,
    seed: int = 0,
    minutes: float = 60.0,
    progress: Callable[[int], None] = lambda kills: None,
) -> Kills:
    """Kill a work again and again.

    Args:
        work: what is killed.
        folder: empty; for everything that it writes.
        kills: number of them.
        seed: of the moments.
        minutes: after which no other work begins.
        progress: is told the number of kills so far.
    """
    random, done = Random(seed), Kills()
    ends = time.monotonic() + 60 * minutes
    work.prepare(folder / "start")
    first = _server().Process(target=_nothing)  # for it, libraries are loaded
    first.start()
    first.join()
    began = time.monotonic()
    whole = _copy(folder / "start", folder / "whole")
    _finish(work, whole, None)
    done.seconds = time.monotonic() - began
    expected = work.result(whole)
    while done.kills < kills and time.monotonic() < ends:
        place = _copy(folder / "start", folder / f"work {done.works}")
        for _ in range(min(random.randint(1, _MOST_EACH), kills - done.kills)):
            if not _kill(work, place, random, done):
                break
            progress(done.kills)
        _finish(work, place, _PATIENCE * done.seconds + 60)
        if wrong := _difference(expected, work.result(place)):
            done.different.append((done.works, wrong))
        done.works += 1
        shutil.rmtree(place)
    return done


def _copy(start: Path, place: Path) -> Path:
    shutil.copytree(start, place)
    return place


def _kill(work, folder, random, done) -> bool:
    """Start the work and kill it; whether it was still there."""
    moment = random.random()
    process = _start(work, folder)
    process.join(moment * done.seconds)
    if process.exitcode is not None:
        _check(process, folder)
        return False
    process.kill()
    process.join()
    done.kills += 1
    done.moments.append(moment)
    return True


def _finish(work, folder, seconds) -> None:
    process = _start(work, folder)
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise RuntimeError(f"{folder}: no end after {seconds:.0f} seconds")
    _check(process, folder)


def _check(process, folder) -> None:
    if process.exitcode != 0:
        printed = (folder / _PRINTED).read_text(errors="replace")[-_SHOWN:]
        raise RuntimeError(f"the work ended with {process.exitcode}: {printed}")


def _server():
    """Processes are forked from one that has loaded the libraries, which takes seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bccd.reliability.killed_works"])
    return context


def _nothing():
    """What a first process does."""


def _start(work, folder):
    process = _server().Process(target=_run, args=(work, folder))
    process.start()
    return process


def _run(work, folder):
    """Do the work; what it prints goes to a file of its own."""
    with open(folder / _PRINTED, "ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        try:
            work.run(folder)
        except Exception:
            traceback.print_exc()
            raise


def _difference(expected: dict[str, object], found: dict[str, object]) -> str:
    """The name of the first thing that is another one; empty: there is none."""
    for name in sorted(expected.keys() | found.keys()):
        if name not in found or name not in expected or expected[name] != found[name]:
            return name
    return ""
