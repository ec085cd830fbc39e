"""Start one process or several: under torchrun, on GPUs, or on the CPU over gloo."""

import logging
import os
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from detectron2.engine import launch as launch_on_gpus
from detectron2.utils import comm

TIMEOUT = timedelta(minutes=30)


def launch(main, args):
    """Call ``main(args)`` in every process of the run.

    Under ``torchrun`` (its environment is set) this process is one of them and the flags that
    count processes are not read. Otherwise Detectron2's launcher starts ``--num-gpus`` processes
    on each of ``--num-machines``; without CUDA they are processes of the CPU that communicate over
    gloo. To use the CPU on a machine with GPUs, set ``CUDA_VISIBLE_DEVICES=``. A process that
    communicates over gloo ends with ``main``: nothing behind ``launch`` runs in it.

    Args:
        main (callable): a picklable function of ``args``.
        args: as parsed by Detectron2's ``default_argument_parser()``.

    Raises:
        ValueError: fewer GPUs than processes on this machine.
    """
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        _launch_from_environment(main, args)
    elif torch.cuda.is_available():
        _check_gpus(args.num_gpus)
        launch_on_gpus(
            main,
            args.num_gpus,
            num_machines=args.num_machines,
            machine_rank=args.machine_rank,
            dist_url=args.dist_url,
            args=(args,),
        )
    elif args.num_gpus * args.num_machines > 1:
        mp.spawn(_cpu_worker, nprocs=args.num_gpus, args=(main, args))
    else:
        main(args)


def _launch_from_environment(main, args):
    local_rank = int(os.environ["LOCAL_RANK"])
    local_size = int(os.environ["LOCAL_WORLD_SIZE"])
    if torch.cuda.is_available():
        _check_gpus(local_size)
        torch.cuda.set_device(local_rank)
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    _run(main, args, local_size, backend=backend, init_method="env://")


def _cpu_worker(local_rank, main, args):
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // args.num_gpus))
    _run(
        main,
        args,
        args.num_gpus,
        backend="gloo",
        init_method=args.dist_url,
        world_size=args.num_gpus * args.num_machines,
        rank=args.machine_rank * args.num_gpus + local_rank,
    )


def _run(main, args, local_size, **process_group):
    dist.init_process_group(timeout=TIMEOUT, **process_group)
    try:
        _create_local_group(local_size)
        comm.synchronize()
        main(args)
        comm.synchronize()  # nobody leaves while another still waits for it
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


def _check_gpus(wanted):
    if wanted > torch.cuda.device_count():
        raise ValueError(
            f"{wanted} processes on this machine, but it has {torch.cuda.device_count()} GPUs; "
            "lower --num-gpus (torchrun: --nproc_per_node), or hide them: CUDA_VISIBLE_DEVICES="
        )
