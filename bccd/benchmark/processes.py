"""Memory and processor time of a process and its descendants, as Linux reports them."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")  # seconds


def resident_mib(pid: int) -> float:
    """Resident MiB of a process and its descendants; memory that they share counts for each."""
    return sum(_resident_pages(each) for each in family(pid)) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its living descendants have used so far, in seconds."""
    return sum(_ticks(each) for each in family(pid)) * TICK


def cpu_seconds_of_each(pid: int) -> dict[int, float]:
    """As :func:`cpu_seconds`, by the ids of the processes."""
    return {each: _ticks(each) * TICK for each in family(pid)}


def family(pid: int) -> Iterator[int]:
    """Yield the ids of a process and of all that descend from it."""
    yield pid
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from family(int(child))


def _resident_pages(pid):
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return 0


def _ticks(pid):
    with contextlib.suppress(OSError):
        # The name, in brackets, may hold spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # in user and in kernel mode
    return 0
