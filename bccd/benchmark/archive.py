"""Speed and rows of ``bccd count --ray`` on this machine, beside the plain command."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bccd.benchmark.paired import ROOT
from bccd.benchmark.processes import cpu_seconds_of_each, resident_mib
from bccd.counting.archive.part import to_counts
from bccd.counting.archive.results import COUNTS, ArchiveResults
from bccd.counting.count_table import read_table
from bccd.counting.detection_files import CSV_NAME, JSON_NAME

INTERVAL = 0.2  # seconds between two looks at a run
# Where a machine dies, and where the command is killed, in shares of the parts.
DEATH, KILL = 0.25, 0.6
_OBJECTS = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


class Watch:
    """Processor time of this process and all that descend from it, also those that have ended."""

    def __init__(self) -> None:
        """Start to look; use in a ``with`` block."""
        self._seconds, self._done = {}, threading.Event()
        self._before = self._look()
        self._thread = threading.Thread(target=self._keep_looking)

    def __enter__(self) -> "Watch":
        """Return the watch itself."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """End."""
        self._done.set()
        self._thread.join()
        self.cpu_seconds = self._look() - self._before

    def _look(self):
        self._seconds |= cpu_seconds_of_each(os.getpid())
        return sum(self._seconds.values())

    def _keep_looking(self):
        while not self._done.wait(INTERVAL):
            self._look()


@contextmanager
def local_cluster(workers: int) -> Iterator:
    """A Ray cluster of ``workers`` machines of one core each, all on this machine.

    Yields:
        its ``address``, and a function that kills the last of the machines.
    """
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **_OBJECTS})
    nodes = [cluster.add_node(num_cpus=1, **_OBJECTS) for _ in range(workers)]
    try:
        yield cluster.address, lambda: cluster.remove_node(nodes[-1], allow_graceful=False)
    finally:
        cluster.shutdown()


@contextmanager
def cores(number: int) -> Iterator[None]:
    """Keep what is started inside the ``with`` block to so many of this process's cores."""
    available = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(available)[:number])
    try:
        yield
    finally:
        os.sched_setaffinity(0, available)


def measure(images: Path, folder: Path, flags: Sequence[str]) -> list[dict]:
    """Count with the plain command, with one worker, with two, and with two of which one dies.

    Args:
        images: folder of images.
        folder: existing and empty, for the results.
        flags: more flags of ``bccd count``.

    Returns:
        a dict for each run: ``run``, ``cores``, ``images`` that it counted, ``seconds`` of the
        whole command, ``images_per_second``, ``cpu_ms_per_image`` (of all processes, those of Ray
        included), ``command_mib`` (peak of the command, without the workers), ``same`` (whether
        its rows are those of the plain command; None for that itself and for what was cut short).
    """
    wanted = len(list(images.iterdir()))
    plain = folder / "plain"
    with cores(1):
        runs = [_run("plain command", 1, _command(images, plain, ["--no-pictures", *flags]))]
    *rows, _ = read_table(plain / CSV_NAME)
    classes = json.loads((plain / JSON_NAME).read_text())["categories"]
    expected = to_counts(rows, [each["name"] for each in classes]).to_pylist()
    _finish(runs[-1], wanted)
    for workers in (1, 2):
        output = folder / str(workers)
        with cores(workers), local_cluster(workers) as (address, _):
            command = _command(images, output, ["--ray", address, *flags])
            runs.append(_run(f"Ray, {workers} worker{'s' * (workers > 1)}", workers, command))
        _finish(runs[-1], wanted, _rows(output), expected)
    return runs + _measure_deaths(images, folder / "deaths", flags, expected)


def _measure_deaths(images, output, flags, expected):
    """A run in which a worker dies and then the command itself, and its second start."""
    parts = len(list((output.parent / "2" / COUNTS).iterdir()))
    with cores(2), local_cluster(2) as (address, kill_one):
        command = _command(images, output, ["--ray", address, *flags])
        events = [(DEATH * parts, lambda process: kill_one())]
        events += [(KILL * parts, lambda process: process.send_signal(signal.SIGKILL))]
        name = "Ray, 2 workers, of which one dies, until the command is killed"
        first = _run(name, 2, command, events)
        before = {path: path.stat().st_mtime_ns for path in (output / COUNTS).iterdir()}
        _finish(first, len(_rows(output)))
        second = _run("its second start, with the worker that is left", 1, command)
    rows = _rows(output)
    _finish(second, len(rows) - first["images"], rows, expected)
    kept = all(path.stat().st_mtime_ns == time for path, time in before.items())
    return [first, {**second, "kept": kept}]


def _command(images, output, flags):
    output.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "bccd", "count", str(images.resolve())]
    return [*command, "-o", str(output.resolve()), *flags], output


def _run(name, cores, command, events=()):
    """Run a command; ``events`` are (finished parts, function of the process)."""
    words, output = command
    events, peak, start = list(events), 0, time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with Watch() as watch, open(output.parent / "log.txt", "ab") as log:
        process = subprocess.Popen(
            words, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        while process.poll() is None:
            peak = max(peak, resident_mib(process.pid))
            if events and len(list(output.glob(f"{COUNTS}/*.parquet"))) >= events[0][0]:
                events.pop(0)[1](process)
            time.sleep(INTERVAL)
    if process.returncode not in (0, -signal.SIGKILL):
        end = (output.parent / "log.txt").read_text()[-2000:]
        raise RuntimeError(f"{name} ended with status {process.returncode}:\n{end}")
    seconds = time.perf_counter() - start
    about = {"run": name, "cores": cores, "seconds": seconds, "command_mib": peak}
    return {**about, "cpu_seconds": watch.cpu_seconds}


def _finish(run, images, rows=None, expected=None):
    run["images"], cpu = images, run.pop("cpu_seconds")
    run["images_per_second"] = images / run["seconds"]
    run["cpu_ms_per_image"] = 1000 * cpu / images
    run["same"] = None if rows is None else rows == expected


def _rows(output):
    """Rows of Parquet files, with the columns of counts.csv."""
    rows = sorted(ArchiveResults(str(output)).rows(), key=lambda row: row["file"])
    return [{k: v for k, v in row.items() if k not in ("source", "version")} for row in rows]
