"""Starting the processes of a run: under torchrun, on GPUs, or on the CPU over gloo."""

import logging
import os
import socket
import sys
from argparse import Namespace
from collections.abc import Callable
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.engine import launch as launch_on_gpus
from detectron2.utils import comm

from bccd.processes import is_under_torchrun, threads_each

TIMEOUT = timedelta(minutes=30)


def launch(
    main: Callable[[Namespace], object],
    args: Namespace,
    *,
    timeout: timedelta = TIMEOUT,
) -> None:
    """Call ``main(args)`` in every process of the run.

    Under ``torchrun``, this process is one of them, and the flags for the number of processes are
    ignored. Otherwise Detectron2's launcher starts ``--num-gpus`` processes on each of
    ``--num-machines``. Without CUDA, the processes run on the CPU, communicate over gloo and share
    the cores (``threads_each``) unless OMP_NUM_THREADS is set. To use the CPU on a machine with
    GPUs, set ``CUDA_VISIBLE_DEVICES=``. A process that communicates over gloo ends with ``main``;
    no code after ``launch`` runs in it.

    Args:
        main: a picklable function of ``args``.
        args: as parsed by Detectron2's ``default_argument_parser()``.
        timeout: how long a process may wait for another.

    Raises:
        ValueError: fewer GPUs than processes on this machine, or no process at all.
        torch.multiprocessing.spawn.ProcessException: a process started here failed or died.
    """
    if is_under_torchrun():
        _launch_from_environment(main, args, timeout)
    else:
        _launch_from_here(main, args, timeout)


def _launch_from_here(main, args, timeout):
    _check_counts(args)
    if torch.cuda.is_available():
        _check_gpus(args.num_gpus)
        launch_on_gpus(
            main,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
            timeout=timeout,
        )
    elif args.num_gpus * args.num_machines > 1:
        url = _free_url() if args.dist_url == "auto" else args.dist_url
        mp.spawn(_cpu_worker, nprocs=args.num_gpus, args=(main, args, url, timeout))
    else:
        main(args)


def _free_url():
    """What Detectron2's launcher makes of "auto" on GPUs: a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def _launch_from_environment(main, args, timeout):
    local_rank = int(os.environ["LOCAL_RANK"])
    local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    if torch.cuda.is_available():
        _check_gpus(local_size)
        torch.cuda.set_device(local_rank)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    group = {"backend": backend, "init_method": "env://", "timeout": timeout}
    _run(main, args, local_size, **group)


def _cpu_worker(local_rank, main, args, url, timeout):
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads_each(args.num_gpus))
    _run(
        main,
        args,
        args.num_gpus,
        backend="gloo",
        init_method=url,
        world_size=args.num_gpus * args.num_machines,
        rank=args.machine_rank * args.num_gpus + local_rank,
        timeout=timeout,
    )


def _run(main, args, local_size, **process_group):
    dist.init_process_group(**process_group)
    try:
        _create_local_group(local_size)
        comm.synchronize()
        main(args)
        comm.synchronize()  # nobody works any more
        if dist.get_backend() == "gloo":
            _leave()
    finally:
        dist.destroy_process_group()


def _leave():
    """End this process, its work done, without C++ destructors.

    Those of gloo race with its own threads: with torch 2.11 one run in about sixteen ended in
    "terminate called without an active exception" after everything had been written.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _create_local_group(local_size):
    """Tell Detectron2 which processes share this machine."""
    if hasattr(comm, "create_local_process_group"):
        comm.create_local_process_group(local_size)
        return
    # Detectron2 0.6 does this inside its CUDA launcher only.
    for first in range(0, dist.get_world_size(), local_size):
        ranks = list(range(first, first + local_size))
        group = dist.new_group(ranks)
        if dist.get_rank() in ranks:
            comm._LOCAL_PROCESS_GROUP = group


def _check_counts(args):
    for flag in ("num_gpus", "num_machines"):
        if getattr(args, flag) < 1:
            raise ValueError(
                f"--{flag.replace('_', '-')} is {getattr(args, flag)}; expected at least 1. "
                "To use the CPU on a machine with GPUs: CUDA_VISIBLE_DEVICES="
            )
    if not 0 <= args.machine_rank < args.num_machines:
        raise ValueError(
            f"--machine-rank is {args.machine_rank}; expected 0 to {args.num_machines - 1}, one "
            "less than --num-machines"
        )


def _check_gpus(wanted):
    if wanted > torch.cuda.device_count():
        raise ValueError(
            f"{wanted} processes on this machine, but it has {torch.cuda.device_count()} GPUs; "
            "lower --num-gpus (torchrun: --nproc_per_node), or hide them: CUDA_VISIBLE_DEVICES="
        )
