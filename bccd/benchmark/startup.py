"""How long ``demo.py`` takes from its start to the end of its first image."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bccd.benchmark.paired import ROOT
from bccd.benchmark.timing import quartiles
from bccd.model_zoo import DEFAULT_MODEL

TARGETS = {"pytorch": 4.0, "onnx": 1.5}  # seconds, on two AVX2 cores
FLAGS = {
    "pytorch": ["--model", DEFAULT_MODEL, "--opts", "MODEL.DEVICE", "cpu"],
    "onnx": ["--runtime", "onnx", DEFAULT_MODEL],
}


def time_starts(image: Path, output: Path, runs: int) -> list[dict]:
    """Count one image, its picture included, in a new process for every run of every way in turn.

    The first run of each is left out: it reads the libraries from the disk.

    Args:
        image: the image.
        output: a folder to write to; it is removed after every run.
        runs: that count.

    Returns:
        list of dict: ``way`` (a key of ``FLAGS``), ``target``, and ``seconds`` and ``cpu_seconds``
        as ``quartiles``.

    Raises:
        RuntimeError: a run failed.
    """
    times = {way: [] for way in FLAGS}
    for _ in range(runs + 1):
        for way, flags in FLAGS.items():
            times[way].append(_time_one(["--input", image, "--output", output, *flags]))
            shutil.rmtree(output)
    return [
        {
            "way": way,
            "target": TARGETS[way],
            "seconds": quartiles([wall for wall, _ in pairs[1:]]),
            "cpu_seconds": quartiles([cpu for _, cpu in pairs[1:]]),
        }
        for way, pairs in times.items()
    ]


def _time_one(flags):
    """(seconds, seconds of all cores) of one run of demo.py."""
    command = [sys.executable, str(ROOT / "demo.py"), *map(str, flags)]
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise RuntimeError(f"demo.py ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    user, system = after.children_user, after.children_system
    return wall, user - before.children_user + system - before.children_system
