"""A process that runs a detector on request, for :mod:`bccd.benchmark.paired`."""

import argparse
import json
import os
import sys
import time

import torch

from bccd.benchmark.memory import peak_growth
from bccd.benchmark.workload import Workload


def main() -> None:
    """Answer every line of stdin with a number, as a JSON value on a line of its own.

    ``forward`` and ``train`` are answered with milliseconds, ``peak forward`` and ``peak train``
    with MiB of memory, null where that is unknown. The first line, null, says that the process is
    ready.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("spec", type=json.loads)
    spec = parser.parse_args().spec
    torch.set_num_threads(spec.pop("threads"))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    dtype = spec.pop("amp_dtype")
    workload = Workload(**spec, amp_dtype=getattr(torch, dtype) if dtype else None)
    runs = {"forward": workload.forward, "train": workload.train}
    print("null", file=answers)
    for line in sys.stdin:
        *peak, name = line.split()
        runs[name]()  # brings its data back into the caches; the first one makes optimizer state
        result = peak_growth(runs[name]) if peak else _milliseconds(runs[name])
        print(json.dumps(result), file=answers)


def _milliseconds(run):
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
