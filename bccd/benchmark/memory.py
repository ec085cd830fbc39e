"""How much memory a run needs at its peak."""

import ctypes
from collections.abc import Callable
from pathlib import Path

import torch


def peak_growth(function: Callable[[], object]) -> float | None:
    """MiB by which memory grows while ``function()`` runs.

    On a GPU this is what PyTorch allocates, otherwise the resident memory of this process, as Linux
    reports it.

    Returns:
        float, or None where the system does not tell.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        start = torch.cuda.memory_allocated()
        function()
        return (torch.cuda.max_memory_allocated() - start) / 2**20
    try:
        return _peak_resident_growth(function)
    except OSError:
        return None


def _peak_resident_growth(function):
    # What the allocator keeps from earlier runs would be used again without growth.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted anew from here
    start = _status_mib("VmRSS")
    function()
    return _status_mib("VmHWM") - start


def _status_mib(key):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024
