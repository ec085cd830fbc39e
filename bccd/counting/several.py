"""Counting in several processes of this machine, of GPUs or of the CPU."""

import logging
from argparse import Namespace
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from detectron2.utils import comm
from torch.multiprocessing.spawn import ProcessException

from bccd.counting.inputs import Task
from bccd.counting.load import load_predictor
from bccd.counting.options import CountOptions
from bccd.counting.run import build_counter, count_share
from bccd.engine.launch import launch
from bccd.logs import log_to_console

TIMEOUT = timedelta(days=7)  # how long the fastest process waits for the slowest; deaths are seen

logger = logging.getLogger(__name__)


def count_in_processes(options: CountOptions, tasks: list[Task], merge: Callable[[], int]) -> int:
    """Detect in images with every process of the run.

    Args:
        options: of the run.
        tasks: the images.
        merge: called without arguments when no process works any more, also after a failure, so
            that finished work is not lost; returns the exit status.

    Returns:
        exit status.
    """
    processes = Namespace(
        num_gpus=options.num_gpus, num_machines=1, machine_rank=0, dist_url="auto"
    )
    try:
        launch(partial(_count, options=options, tasks=tasks), processes, timeout=TIMEOUT)
    except ProcessException as error:
        merge()
        logger.error(f"A process of --num-gpus {options.num_gpus} ended early: {error}")
        return 1
    except BaseException:
        merge()
        raise
    return merge()


def _count(processes, *, options, tasks):
    log_to_console(comm.get_rank())

    def share(start):
        left = comm.all_gather(start() if comm.is_main_process() else None)[0]
        return left[comm.get_rank() :: comm.get_world_size()]

    counter = build_counter(options, load_predictor(options.choice))
    count_share(options, tasks, counter, comm.get_rank(), share)
