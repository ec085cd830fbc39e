"""A run of counting in an archive, from its options to its totals."""

import contextlib
import dataclasses
import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from itertools import islice

from tqdm import tqdm

from bccd.counting.archive import cluster
from bccd.counting.archive.finished import Finished
from bccd.counting.archive.listing import ListedFile, Listing
from bccd.counting.archive.report import Outcome, report
from bccd.counting.archive.results import ArchiveResults
from bccd.counting.intervals import CountIntervals
from bccd.counting.options import CountOptions
from bccd.counting.summary import check_factors, summarise
from bccd.logs import log_to_console

PART = 128  # files that a machine counts at a time, and loses if it dies

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ArchiveJob:
    """What is to be counted, and where.

    Attributes:
        work: what the machines need to know.
        listing: of the images.
        connection: to the cluster; ends with the run.
    """

    work: cluster.Work
    listing: Listing
    connection: contextlib.ExitStack


def prepare(options: CountOptions, address: str, cores: int) -> ArchiveJob:
    """Connect to the cluster and see that it can do what the options ask for.

    Args:
        options: of the run.
        address: of the cluster, see ``cluster.connected``.
        cores: that a process takes.

    Raises:
        OSError, ValueError, ImportError: they are wrong, or name what cannot be used.
    """
    log_to_console(0)
    if options.video or options.num_gpus > 1:
        other = "--video" if options.video else "--num-gpus"
        raise ValueError(f"{other} is not for a cluster: leave it, or --ray, away")
    listing, results = Listing(options.inputs), ArchiveResults(options.output)
    if next(iter(listing), None) is None:
        raise FileNotFoundError(f"no image in {' '.join(options.inputs)}")
    needs = cluster.needs(options, cores)
    with contextlib.ExitStack() as stack:
        stack.enter_context(cluster.connected(address, needs))
        settings = cluster.describe(options, needs)
        check_factors(options.microlitre_factors, list(settings["threshold"]))
        results.start(settings)
        work = cluster.Work(options, settings, listing.stores, results, needs)
        return ArchiveJob(work, listing, stack.pop_all())


def run(job: ArchiveJob, ended: Callable[[Outcome], None] = lambda outcome: None) -> int:
    """Count what is not finished yet, and report on all of it.

    Args:
        job: from :func:`prepare`.
        ended: called with what the run has come to.

    Returns:
        0, or 1 where something was not counted.
    """
    work, results = job.work, job.work.results
    with job.connection:
        finished = results.finished()
        if finished.number:
            logger.info(f"{finished.number} files were finished by an earlier start")
        parts = name_parts(unfinished(job.listing, finished, results))
        with tqdm(unit="file", initial=finished.number) as bar:
            for number in cluster.count_parts(work, parts):
                bar.update(number)
    outcome = summarise_archive(job)
    ended(outcome)
    return report(outcome)


def summarise_archive(job: ArchiveJob) -> Outcome:
    """Write the summary of all that is finished; returns what it has come to."""
    settings, results = job.work.settings, job.work.results
    names = list(settings["threshold"])
    done = results.total(names)
    intervals = CountIntervals.of(settings.get("count_intervals") or {}, names, results.url)
    summary = summarise(done.tally, intervals, job.work.options.microlitre_factors)
    results.write_summary(summary)
    return Outcome(results.url, done, results.finished().doubled, job.listing.left_out, summary)


def unfinished(
    files: Iterator[ListedFile], finished: Finished, results: ArchiveResults
) -> Iterator[ListedFile]:
    """The files that no part counts as they are now; what older rows they have is removed."""
    files = iter(files)
    while batch := list(islice(files, 8 * PART)):
        todo, stale = finished.split(batch)
        for part, sources in stale.items():
            results.forget(part, sources)
        yield from todo


def name_parts(files: Iterator[ListedFile]) -> Iterator[tuple[str, list[ListedFile]]]:
    """Names and files of parts, in an order that their names keep, also from start to start."""
    start, number = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%f"), 0
    files = iter(files)
    while part := list(islice(files, PART)):
        yield f"part-{start}-{number:06}", part
        number += 1
