"""Time of a detector beside other programs, for several bounds on the busy waiting of threads."""

import os
import subprocess
import sys
from contextlib import ExitStack

from bccd.openmp import SPIN_COUNT

from bccd.benchmark.timing import quartiles
from bccd.processes import available_cores

# GOMP_SPINCOUNT, and whether the number of threads follows the load: GNU OpenMP's own bound, the
# project's, and what bccd count does.
SETTINGS = {
    "OpenMP's default": ("300000", False),
    "the program's": (SPIN_COUNT, False),
    "the program's, and fewer threads beside others": (SPIN_COUNT, True),
}
_WARM_UP = 2.5  # seconds; the number of threads has followed the load by then
_CHILD = """
import itertools, sys, time
from bccd.benchmark.workload import smear_batch
from bccd.counting.predictor import Predictor
from bccd.engine.shipped_models import load_config
from bccd.model_zoo import DEFAULT_MODEL
from bccd.shared_cores import SharedCores
import torch
cfg = load_config(DEFAULT_MODEL)
cfg.MODEL.DEVICE = "cpu"
torch.set_num_threads(int(sys.argv[2]))
predictor, image = Predictor(cfg), smear_batch(cfg, (480, 640), 1)[0]
adapt = SharedCores().adapt if sys.argv[3] == "True" else lambda: None
warm = time.perf_counter() + float(sys.argv[4])
for number in itertools.count():
    adapt()
    predictor.detect(image)
    if number >= 2 and time.perf_counter() > warm:
        break
end, times = time.perf_counter() + float(sys.argv[1]), []
while len(times) < 3 or time.perf_counter() < end:
    start = time.perf_counter()
    adapt()
    predictor.detect(image)
    times.append(1e3 * (time.perf_counter() - start))
print(*times)
"""


def measure_busy(seconds: float, others: int | None = None) -> list[dict]:
    """Time the default model alone and beside programs that compute all the time.

    Args:
        seconds: that each figure is measured.
        others: programs of one thread each; default: one for each core.

    Returns:
        list of dict, one for each of ``SETTINGS``: ``spin`` (its name), ``count``, ``others``,
        ``alone_ms`` and ``busy_ms`` as ``quartiles``, and ``share_ratio``: the median beside the
        others, relative to what a fair share of the cores gives.
    """
    cores = available_cores()
    others = cores if others is None else others
    # Each of the runnable threads gets as much as any other.
    fair = (cores + others) / cores
    rows = []
    for name, (count, adapts) in SETTINGS.items():
        alone = _time_detector(seconds, count, cores, adapts)
        with ExitStack() as stack:
            for _ in range(others):
                hog = stack.enter_context(
                    subprocess.Popen([sys.executable, "-c", "while True: pass"])
                )
                stack.callback(hog.kill)
            busy = _time_detector(seconds, count, cores, adapts)
        rows.append(
            {
                "spin": name,
                "count": int(count),
                "others": others,
                "alone_ms": quartiles(alone),
                "busy_ms": quartiles(busy),
                "share_ratio": quartiles(busy)["median"] / (fair * quartiles(alone)["median"]),
            }
        )
    return rows


def _time_detector(seconds, spin_count, threads, adapts):
    set_by_user = ("OMP_WAIT_POLICY", "OMP_NUM_THREADS")
    environment = {k: v for k, v in os.environ.items() if k not in set_by_user}
    environment["GOMP_SPINCOUNT"] = spin_count
    command = [sys.executable, "-c", _CHILD, str(seconds), str(threads)]
    command += [str(adapts), str(_WARM_UP if adapts else 0)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"the detector's process failed:\n{done.stderr[-2000:]}")
    return [float(value) for value in done.stdout.split()]
