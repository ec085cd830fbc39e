"""Memory and speed of demo.py while it counts many images."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2

from bccd.benchmark.paired import ROOT
from bccd.benchmark.processes import cpu_seconds, resident_mib
from bccd.counting.count_table import COUNTED, read_table
from bccd.counting.detection_files import CSV_NAME
from bccd.counting.progress import FOLDER
from bccd.data.synthetic import draw_smear

INTERVAL = 0.2  # seconds between two looks at a run
TOLERANCE = 5.0  # percent: what the allocator alone moves


class Sample(NamedTuple):
    """A look at a run: seconds since its start, images finished, resident MiB, CPU seconds."""

    seconds: float
    finished: int
    mib: float
    cpu_seconds: float


def write_smears(folder: Path, count: int, distinct: int, size: tuple[int, int]) -> None:
    """Fill a folder with ``count`` JPEG files, of which all but ``distinct`` are hard links.

    Symbolic links would not do: demo.py counts an image once, however many of them name it.

    Args:
        folder: existing and empty, on a file system that has hard links.
        size: (height, width) in pixels.
    """
    for index in range(count):
        file = folder / f"{index:06}.jpg"
        if index < distinct:
            cv2.imwrite(str(file), draw_smear(index, *size)[0])
        else:
            os.link(folder / f"{index % distinct:06}.jpg", file)


def watch_demo(
    images: Path, output: Path, processes: int, cores: int, flags: Sequence[str] = ()
) -> list[Sample]:
    """Run demo.py without pictures and sample its progress, memory and processor time.

    Args:
        images, output: Path of a folder of images, and an existing folder for the results.
        processes: --num-gpus.
        cores: of the CPU, that they share as ``bccd.engine.launch`` decides.
        flags: more flags of demo.py.

    Returns:
        A sample every ``INTERVAL`` seconds.

    Raises:
        RuntimeError: it failed, or did not count every image.
    """
    log, samples = output / "log.txt", []
    finished = LineCounter(output / FOLDER)
    with open(log, "w", encoding="utf-8") as file:
        start = time.perf_counter()
        with _start_demo(images, output, processes, cores, flags, file) as demo:
            while demo.poll() is None:
                now = time.perf_counter() - start
                use = resident_mib(demo.pid), cpu_seconds(demo.pid)
                samples.append(Sample(now, finished.count(), *use))
                time.sleep(INTERVAL)
    wanted = len(list(images.iterdir()))
    if demo.returncode or _counted(output / CSV_NAME) != wanted:
        end = log.read_text(encoding="utf-8")[-2000:]
        raise RuntimeError(
            f"demo.py ended with status {demo.returncode}, without all of {wanted} images:\n{end}"
        )
    return samples


def _start_demo(images, output, processes, cores, flags, log):
    command = [sys.executable, "demo.py", "--input", str(images.resolve()), "--no-pictures"]
    command += ["--output", str(output.resolve()), "--num-gpus", str(processes), *flags]
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(available)[:cores])  # what is started here inherits it
    try:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    finally:
        os.sched_setaffinity(0, available)


class LineCounter:
    """Counts the finished images of a run, reading each line of its parts once."""

    def __init__(self, folder: Path) -> None:
        """``folder``: of ``bccd.counting.progress``; may come and go."""
        self.folder = folder
        self._places, self._count = {}, 0

    def count(self) -> int:
        """Images that were finished until now."""
        for path in self.folder.glob("part-*.jsonl"):
            try:
                with open(path, "rb") as file:
                    file.seek(self._places.get(path, 0))
                    new = file.read()
            except FileNotFoundError:  # the run has just ended
                continue
            self._places[path] = self._places.get(path, 0) + len(new)
            self._count += new.count(b"}\n")
        return self._count


def _counted(path):
    return sum(row["status"] == COUNTED for row in read_table(path))


def summarise(samples: Sequence[Sample], images: int) -> dict:
    """Summarise the samples of a run over ``images`` images.

    The first tenth of the run fills caches. Memory is constant if the peak after the middle is not
    more than ``TOLERANCE`` percent above the peak between that tenth and the middle.

    Returns:
        dict: ``seconds`` of the whole run, ``seconds_to_first_image``, ``images_per_second`` and
        ``cpu_ms_per_image`` (processor time of all threads) from the first image to the last,
        ``peak_mib``, ``mib_of_tenths`` (peak while each tenth of the images was worked on, None
        where there was no sample), ``growth_percent`` and ``constant`` (None where the run was too
        short to tell).
    """
    first = next((s for s in samples if s.finished), samples[-1])
    last = next(s for s in samples if s.finished == samples[-1].finished)
    seconds, images_between = last.seconds - first.seconds, last.finished - first.finished
    cpu_ms = 1000 * (last.cpu_seconds - first.cpu_seconds)
    tenths = [[] for _ in range(10)]
    for sample in samples:
        if 0 < sample.finished < images:  # after the last image the files are merged
            tenths[10 * sample.finished // images].append(sample.mib)
    peaks = [max(tenth, default=None) for tenth in tenths]
    early, late = [p for p in peaks[1:5] if p], [p for p in peaks[5:] if p]
    growth = 100 * (max(late) / max(early) - 1) if early and late else None
    return {
        "seconds": samples[-1].seconds,
        "seconds_to_first_image": first.seconds,
        "images_per_second": images_between / seconds if seconds else None,
        "cpu_ms_per_image": cpu_ms / images_between if images_between else None,
        "peak_mib": max(sample.mib for sample in samples),
        "mib_of_tenths": peaks,
        "growth_percent": growth,
        "constant": None if growth is None else growth <= TOLERANCE,
    }
