"""Times of repeated runs, and of the parts inside a run."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps

import numpy as np
import torch
from torch.utils.benchmark import Timer


def synchronize() -> None:
    """Wait until the GPU, if there is one, has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def quartiles(values: Sequence[float]) -> dict:
    """``{"median", "quartiles": [25%, 75%], "runs"}`` of a sequence of numbers."""
    low, median, high = np.percentile(values, [25, 50, 75]).tolist()
    return {"median": median, "quartiles": [low, high], "runs": len(values)}


def timing(function: Callable[[], object], seconds: float) -> dict:
    """Milliseconds of ``function()``, after two runs to warm up.

    Args:
        function: without arguments; must wait for the GPU itself.
        seconds: the function is repeated for at least this long.

    Returns:
        dict: ``median_ms``, ``quartile_ms`` [25%, 75%] and ``runs``.
    """
    timer = Timer("function()", globals={"function": function}, num_threads=torch.get_num_threads())
    timer.timeit(2)
    spread = quartiles(timer.blocked_autorange(min_run_time=seconds).times)
    return {
        "median_ms": 1e3 * spread["median"],
        "quartile_ms": [1e3 * value for value in spread["quartiles"]],
        "runs": spread["runs"],
    }


def milliseconds(function: Callable[[], object]) -> float:
    """Time of one call of ``function()``, the GPU's work included."""
    synchronize()
    start = time.perf_counter()
    function()
    synchronize()
    return 1e3 * (time.perf_counter() - start)


def in_turn(
    rows: Iterable[Sequence[Callable[[], object]]],
    measure: Callable[[Callable], float] = milliseconds,
) -> list[tuple[dict, dict]]:
    """Time several functions alternately, so that other load on the machine affects all equally.

    Args:
        rows: lists of the functions to compare, for example one list for each image. The
            function that runs first changes from list to list.
        measure: runs one function and returns its time.

    Returns:
        For each place in the lists a pair: its times, and the times of the first place divided by
        them, both as :func:`quartiles`.
    """
    times = []
    for number, functions in enumerate(rows):
        row = [0.0] * len(functions)
        for turn in range(len(functions)):
            place = (number + turn) % len(functions)
            row[place] = measure(functions[place])
        times.append(row)
    times = np.array(times)
    return [(quartiles(own), quartiles(times[:, 0] / own)) for own in times.T]


class Sections:
    """Time spent in named parts of a run. The time of a part excludes that of the parts inside it.

    Every boundary waits for the GPU, so the parts add up to more than the time of a run without it.
    """

    def __init__(self) -> None:
        self.seconds = defaultdict(float)
        self._open, self._since, self._replaced = [], 0.0, []

    @contextmanager
    def section(self, name: str) -> Iterator[None]:
        """Add the time of the ``with`` block to ``name``. Blocks may be nested."""
        self._close_interval()
        self._open.append(name)
        try:
            yield
        finally:
            self._close_interval()
            self._open.pop()

    def _close_interval(self):
        synchronize()
        now = time.perf_counter()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now

    def watch(self, owner: object, attribute: str, name: str) -> None:
        """Add the time of every call of ``owner.attribute`` to ``name``, until :meth:`restore`.

        ``owner`` is any object with attributes: a model's part, a class or a Python module.
        """
        original = getattr(owner, attribute)

        @wraps(original)
        def timed(*args, **kwargs):
            with self.section(name):
                return original(*args, **kwargs)

        self._replaced.append((owner, attribute, vars(owner).get(attribute)))
        setattr(owner, attribute, timed)

    def restore(self) -> None:
        """Restore everything that was watched."""
        while self._replaced:
            owner, attribute, own = self._replaced.pop()
            if own is None:  # inherited from the class
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, own)
