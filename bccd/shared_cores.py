"""Fewer threads of PyTorch while other programs use the cores.

PyTorch's threads wait for each other after every layer. Beside other programs one of them is often
without a core, and all wait until the system gives it one again: a second thread then costs more
than it brings (docs/performance.md, "A busy CPU").
"""

import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bccd.processes import available_cores

PERIOD = 1.0  # seconds between two looks at the cores


class SharedCores:
    """Chooses the number of PyTorch's threads by what other programs leave of the cores.

    It keeps at least half of the threads that PyTorch had, so that a program on many busy cores
    still gets a fair share. Nothing happens where OMP_NUM_THREADS is set, where PyTorch is not
    loaded, and where the system has no /proc/stat.
    """

    def __init__(self, usage: Callable[[], tuple[float, float]] | None = None) -> None:
        """``usage``: gives seconds of all and of this process's use of the cores until now."""
        self._usage = usage or _usage
        self._torch = None if "OMP_NUM_THREADS" in os.environ else sys.modules.get("torch")
        self._most = self._chosen = self._torch.get_num_threads() if self._torch else 1
        self._since = self._look()

    def adapt(self) -> None:
        """Choose anew, at most once in ``PERIOD``; call it in the thread that runs the model."""
        if self._most == 1 or self._since is None or time.monotonic() - self._since[0] < PERIOD:
            return
        if self._torch.get_num_threads() != self._chosen:  # somebody else has chosen
            self._most = self._torch.get_num_threads()
        before, self._since = self._since, self._look()
        if self._since is None:
            return
        elapsed, busy, own = (now - then for now, then in zip(self._since, before, strict=True))
        self._chosen = threads_beside((busy - own) / elapsed, available_cores(), self._most)
        self._torch.set_num_threads(self._chosen)

    def _look(self):
        try:
            return time.monotonic(), *self._usage()
        except OSError:
            return None


def threads_beside(others: float, cores: int, most: int) -> int:
    """How many threads to use beside other programs.

    Args:
        others: cores that other programs keep busy.
        cores: that this process may use.
        most: threads that it would use alone.

    Returns:
        as many as there are cores left, from half of ``most`` to ``most``.
    """
    return min(most, max(math.ceil(most / 2), cores - round(others)))


def _usage():
    """Seconds that the cores of this process were busy, and those of its own threads."""
    lines = Path("/proc/stat").read_text().splitlines()
    mine = {f"cpu{core}" for core in os.sched_getaffinity(0)}
    ticks = 0
    for name, *fields in map(str.split, lines):
        if name in mine:
            user, nice, system, _idle, _waiting, irq, softirq = map(int, fields[:7])
            ticks += user + nice + system + irq + softirq
    return ticks / os.sysconf("SC_CLK_TCK"), time.process_time()
