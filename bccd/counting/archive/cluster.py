"""The machines of a Ray cluster, and the parts of an archive that they count.

Each part is a task of Ray. Ray gives it to any machine with free cores, also to one that joins
later; where a machine or a process dies, Ray starts the task again elsewhere. A process keeps its
detector from one part to the next. Actors would have to be watched and replaced here, and Ray Data
keeps no record of what is finished that a second start could go on with.
"""

import contextlib
import dataclasses
import logging
import os
import platform
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import bccd.openmp  # noqa: F401  (before PyTorch, in the processes of the cluster, too)

import ray
from ray.exceptions import NodeDiedError, RayTaskError, WorkerCrashedError

from bccd.counting.archive.listing import ListedFile, Store
from bccd.counting.archive.part import count_part, fail_part
from bccd.counting.archive.results import ArchiveResults
from bccd.counting.counter import CellCounter
from bccd.counting.load import load_predictor
from bccd.counting.options import CountOptions
from bccd.counting.regions.per_image import Regions
from bccd.counting.run import build_counter, settings_of
from bccd.processes import available_cores

LOCAL = "local"
RETRIES = 2  # of a part whose process or machine died, before it is halved
DIED = "the process that counted it died"  # status of a file
PATIENCE = 30.0  # seconds without a machine until the log says so

_DEATHS = (WorkerCrashedError, NodeDiedError)

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Work:
    """What every task of a run needs.

    Attributes:
        options: of the run.
        settings: what the counts depend on, as the first machine has it.
        stores: where the images are.
        results: where the parts go.
        needs: what a task takes of a machine, see :func:`needs`.
    """

    options: CountOptions
    settings: dict
    stores: Sequence[Store]
    results: ArchiveResults
    needs: Mapping[str, int]


@contextlib.contextmanager
def connected(address: str, needs: Mapping[str, int]) -> Iterator[None]:
    """Use a cluster inside the ``with`` block.

    Args:
        address: ``local``: one of this machine's cores, which ends with the block; or as Ray's
            ``address``: ``auto``, ``host:6379``, ``ray://host:10001``.
        needs: what a task takes of a machine.

    Raises:
        ValueError: no machine of the cluster has that, or none can be reached.
    """
    with contextlib.ExitStack() as stack:
        if not ray.is_initialized():  # by the program that this is part of
            _connect(address)
            stack.callback(ray.shutdown)
        if not slots(needs):
            wanted = " and ".join(f"{number} {name}" for name, number in needs.items())
            raise ValueError(f"no machine of the cluster at {address} has {wanted}")
        yield


def _connect(address):
    options = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address == LOCAL:
        options |= {"num_cpus": available_cores(), "include_dashboard": False}
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would ask a server whether to send any
    try:
        ray.init(address, **options)
    except Exception as error:  # ConnectionError, RuntimeError, gRPC's
        raise ValueError(f"--ray {address}: no cluster can be reached there ({error})") from error


def needs(options: CountOptions, cores: int) -> dict[str, int]:
    """What a task takes of a machine, by Ray's names: cores, and a GPU if that is asked for."""
    is_cuda = (options.choice.device or "").startswith("cuda")
    return {"CPU": cores, "GPU": 1} if is_cuda else {"CPU": cores}


def slots(needs: Mapping[str, int]) -> int:
    """Tasks that the machines of the cluster can run at a time."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sum(min(int(has.get(name, 0) // n) for name, n in needs.items()) for has in alive)


def describe(options: CountOptions, needs: Mapping[str, int]) -> dict:
    """The settings of the counter, as a machine of the cluster has it; raises as that."""
    try:
        return ray.get(_task(_describe, needs, RETRIES).remote(options))
    except RayTaskError as error:
        raise error.cause from error


def count_parts(work: Work, parts: Iterator[tuple[str, list[ListedFile]]]) -> Iterator[int]:
    """Count parts on all machines, a few more at a time than these can work on.

    A part on which its process dies again and again is halved until the file is found that does
    it, which gets a row that says so.

    Args:
        work: what all of them need.
        parts: their names and files.

    Yields:
        the number of files of each part that is finished.

    Raises:
        OSError, ValueError, RuntimeError: a machine cannot work; what others are at work on goes
            on meanwhile, but is not waited for.
    """
    shared, halves, running = ray.put(work), deque(), {}
    while True:
        while len(running) < 2 * max(1, slots(work.needs)):
            name, files, retries = halves.popleft() if halves else (*next(parts, ("", [])), RETRIES)
            if not files:
                break
            task = _task(_count, work.needs, retries)
            running[task.remote(shared, name, files)] = name, files
        if not running:
            return
        done, _ = ray.wait(list(running), timeout=PATIENCE)
        if not done and not slots(work.needs):
            logger.warning("The cluster has no machine left: waiting for one")
        for each in done:
            name, files = running.pop(each)
            try:
                _check(work, name, *ray.get(each))
            except _DEATHS:
                if len(files) > 1:
                    halves += _halve(name, files)
                    continue
                work.results.write(name, *fail_part(files, work.settings, DIED))
            except RayTaskError as error:
                raise error.cause from error
            yield len(files)


def _halve(name, files):
    """Parts of half the files; what is one file may meet the death of a machine as well."""
    middle = len(files) // 2
    halves = (f"{name}a", files[:middle]), (f"{name}b", files[middle:])
    return [(*half, min(1, RETRIES) if len(half[1]) == 1 else 0) for half in halves]


def _check(work, name, rows, machine):
    if rows and not work.results.has(name):
        raise FileNotFoundError(
            f"{machine} has written a part that is not in {work.results.url} here; every machine "
            "of the cluster must see the output folder under this path"
        )


def _task(function, needs, retries):
    resources = {"num_cpus": needs["CPU"], "num_gpus": needs.get("GPU", 0)}
    return ray.remote(function).options(max_retries=retries, **resources)


def _describe(options):
    return _load(options).settings


def _count(work, name, files):
    """Count a part; returns the number of its rows, and the name of this machine."""
    loaded = _load(work.options)
    if loaded.settings != work.settings:
        raise ValueError(
            f"{platform.node()} has another model or version of bccd than the first machine; "
            "install the same on all"
        )
    part = count_part(files, work.stores, loaded.counter, loaded.regions)
    if len(part.counts):
        work.results.write(name, *part)
    return len(part.counts), platform.node()


class _Loaded(NamedTuple):
    """What this process of the cluster counts with."""

    options: CountOptions
    counter: CellCounter
    regions: Regions
    settings: dict


_loaded = []  # the last one


def _load(options):
    if not _loaded or _loaded[0].options != options:
        counter = build_counter(options, load_predictor(options.choice))
        regions = Regions(options.region)
        _loaded[:] = [_Loaded(options, counter, regions, settings_of(counter, regions))]
    return _loaded[0]
