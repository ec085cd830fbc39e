"""The machine, the software and the command of a measurement."""

import datetime
import os
import platform
import shlex
import sys
import time
from pathlib import Path

import torch

# Variables that keep PyTorch's own kernels and oneDNN from instructions that the processor has.
MASKS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")


def describe_machine() -> dict:
    """The machine and the software behind a measured time.

    Returns:
        dict: ``device`` (name of the GPU or of the processor), ``instructions`` (the processor's
        largest set that PyTorch uses, "AVX2" or "AVX512" on x86-64, and which ``MASKS`` are set),
        ``threads`` of PyTorch, ``torch``.
    """
    masks = [f"{name}={os.environ[name]}" for name in MASKS if name in os.environ]
    instructions = torch.backends.cpu.get_cpu_capability()
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "instructions": f"{instructions} by {' '.join(masks)}" if masks else instructions,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def machine_in_words(machine: dict) -> str:
    """The result of :func:`describe_machine` as text."""
    device = machine["device"]
    if "instructions" in machine:  # measured before 2026-11-26: without
        device += f" ({machine['instructions']})"
    return f"{device}, PyTorch {machine['torch']} on {machine['threads']} threads"


def describe_measurement() -> dict:
    """Machine, command and date of a measurement that is about to start.

    Returns:
        dict: ``machine`` of :func:`describe_machine`, with ``load_before``: cores that were busy
        in the second before; ``command``; ``date`` (ISO 8601).
    """
    return {
        "machine": {**describe_machine(), "load_before": round(_busy_cores(), 2)},
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.date.today().isoformat(),
    }


def _busy_cores(seconds=1.0):
    """Mean number of busy cores, over a second or, where /proc is missing, over the last minute."""
    try:
        before = _core_seconds()
        time.sleep(seconds)
        busy, idle = (after - x for after, x in zip(_core_seconds(), before, strict=True))
        return os.cpu_count() * busy / (busy + idle)
    except (OSError, ZeroDivisionError):
        return os.getloadavg()[0]


def _core_seconds():
    """Time of all cores so far, busy and idle, in units of the system (proc_stat(5))."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return sum(fields) - idle, idle


def _processor():
    """Name of the processor; platform.processor() is empty on most Linux systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
