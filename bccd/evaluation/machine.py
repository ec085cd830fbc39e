"""What a time was measured on, and how."""

import datetime
import os
import platform
import shlex
import sys
from pathlib import Path

import torch


def describe_machine():
    """The machine and the software behind a measured time.

    Returns:
        dict: ``device`` (name of the GPU or of the processor), ``threads`` of PyTorch, ``torch``.
    """
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def describe_measurement():
    """Machine, command and date of a measurement that is about to start.

    Returns:
        dict: ``machine`` of :func:`describe_machine`, with ``load_before``: processes that were
        busy in the minute before, on average; ``command``; ``date`` (ISO 8601).
    """
    return {
        "machine": {**describe_machine(), "load_before": round(os.getloadavg()[0], 2)},
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.date.today().isoformat(),
    }


def _processor():
    """Name of the processor; platform.processor() is empty on most Linux systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
