from argparse import Namespace
from functools import partial
from pathlib import Path

import pytest
import torch
from detectron2.utils import comm

from bccd.engine.launch import launch
from bccd.processes import threads_each


def write_threads(args, *, folder):
    Path(folder, str(comm.get_rank())).write_text(str(torch.get_num_threads()))


@pytest.mark.parametrize("wanted", [None, str(threads_each(1))])
def test_cpu_processes_share_the_cores_unless_the_user_says_otherwise(
    tmp_path, monkeypatch, wanted
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if wanted:
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    args = Namespace(num_gpus=2, num_machines=1, machine_rank=0, dist_url="auto")
    launch(partial(write_threads, folder=tmp_path), args)
    threads = [(tmp_path / str(rank)).read_text() for rank in range(2)]
    assert threads == [wanted or str(threads_each(2))] * 2


@pytest.mark.parametrize(("cores", "processes", "threads"), [(8, 2, 4), (7, 2, 3), (2, 4, 1)])
def test_threads_are_of_the_cores_that_this_process_may_use(monkeypatch, cores, processes, threads):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(cores)))
    assert threads_each(processes) == threads


def test_without_affinity_all_cores_are_available_as_on_macos(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    assert threads_each(3) == 2
