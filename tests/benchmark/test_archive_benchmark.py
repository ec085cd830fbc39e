import subprocess
import sys

import needs_ray  # noqa: F401

from bccd.benchmark.archive import Watch, cores
from bccd.benchmark.table import archive_table

SPIN = """
import os, time
while time.process_time() < 0.6:
    pass
print(len(os.sched_getaffinity(0)))
"""


def test_the_processor_time_of_processes_that_have_ended_counts():
    with cores(1), Watch() as watch:
        done = subprocess.run([sys.executable, "-c", SPIN], capture_output=True, text=True)
    assert done.stdout == "1\n"
    assert watch.cpu_seconds > 0.2  # what was used after the last look is missed


def test_rows_that_differ_are_shown():
    run = {"cores": 1, "images": 9, "seconds": 3.0, "images_per_second": 3.0}
    run |= {"cpu_ms_per_image": 20.0, "command_mib": 100.0}
    runs = [{"run": "one", **run, "same": False}, {"run": "cut short", **run, "same": None}]
    header, _, first, second = archive_table(runs).splitlines()
    assert header.endswith("| rows of the plain command   |")
    assert first.split()[-2:] == ["NO", "|"] and second.split()[-2:] == ["|", "|"]
