"""What a process knows of its siblings and its share of the CPU, without PyTorch."""

import os
import sys


def available_cores() -> int:
    """Cores of the CPU that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()  # macOS


def threads_each(processes: int) -> int:
    """PyTorch's threads in each of ``processes`` on this CPU, without OMP_NUM_THREADS.

    More threads than cores would wait for each other in busy loops. torchrun sets
    OMP_NUM_THREADS itself, to 1.
    """
    return max(1, available_cores() // processes)


def threads_of_this_process() -> int:
    """As many as PyTorch uses where it is loaded, or else OMP_NUM_THREADS, or all cores."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return torch.get_num_threads()
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(wanted) if wanted.isdigit() and int(wanted) > 0 else available_cores()


def is_under_torchrun() -> bool:
    """Whether this process is one of several that torchrun has started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ
