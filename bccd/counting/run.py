"""A run of counting, from its options to the result files."""

import dataclasses
import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

from bccd.counting.counter import CellCounter
from bccd.counting.detection_files import printable
from bccd.counting.folder import count_into_folder, other_pictures
from bccd.counting.inputs import LeftOut, Task, find_images, plan_pictures, plan_slides
from bccd.counting.intervals import CountIntervals
from bccd.counting.load import (
    ImagePredictor,
    build_cfg,
    load_predictor,
    missing_packages,
    with_runtime,
)
from bccd.counting.options import CountOptions
from bccd.counting.progress import Merged, Progress
from bccd.counting.regions.per_image import Regions
from bccd.counting.report import Outcome, report
from bccd.counting.slides.result import OVERVIEW
from bccd.counting.slides.slide import import_tiffslide
from bccd.counting.summary import CSV_NAME as SUMMARY_NAME
from bccd.counting.summary import Quantity, check_factors, summarise, write_summary
from bccd.counting.video import NO_FRAMES, count_video
from bccd.data.images.decoding import is_url, local_path
from bccd.data.images.image_source import ImageSource
from bccd.export.runtime import ExportedPredictor
from bccd.logs import log_to_console
from bccd.processes import is_under_torchrun

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be counted, and how.

    Attributes:
        options: of the run.
        tasks: of a video its only one.
        left_out: what the input folders hold beside.
        counter: None: each of several processes loads its own.
    """

    options: CountOptions
    tasks: list[Task]
    left_out: list[LeftOut]
    counter: CellCounter | None


def prepare(options: CountOptions, predictor: ImagePredictor | None = None) -> Job:
    """Make what the options ask for ready; nothing is written but an empty output folder.

    Args:
        options: of the run.
        predictor: None: that of ``options.choice``.

    Raises:
        OSError, ValueError, ImportError: the options are wrong, or name what cannot be used.
    """
    log_to_console(0)
    if is_under_torchrun():
        raise ValueError(
            "torchrun is not for counting: --num-gpus starts processes on this machine, and bccd "
            "count --ray uses several machines"
        )
    alone = options.num_gpus == 1
    if options.video and not alone:
        raise ValueError("a video is for one process: leave --num-gpus away")
    if options.video and options.microlitre_factors:
        raise ValueError("frames of a video show the same cells: no concentration comes from them")
    if Regions(options.region) and options.video:
        raise ValueError("--region is of images: leave it away for a video")
    tasks, left_out = find_inputs(options)
    if predictor is None:
        if not alone and missing_packages():
            raise ImportError(
                f"several processes (--num-gpus) need {missing_packages()}, not installed here"
            )
        options = dataclasses.replace(options, choice=with_runtime(options.choice))
    counter = None
    if alone:
        counter = build_counter(options, predictor or load_predictor(options.choice))
        check_factors(options.microlitre_factors, counter.class_names)
    elif not options.choice.is_exported:
        build_cfg(options.choice)  # its errors, before there are processes
    make_output(options.output)
    return Job(options, tasks, left_out, counter)


def build_counter(options: CountOptions, predictor: ImagePredictor) -> CellCounter:
    """The counter that the options ask for, of their predictor."""
    return CellCounter.of(
        predictor,
        options.thresholds,
        options.red_cell_diameter,
        options.border,
        options.micrometres_per_pixel,
    )


def settings_of(counter: CellCounter, regions: Regions) -> dict:
    """What the counts of a run depend on beside the images, for JSON."""
    return counter.settings | ({"region": regions.identity} if regions else {})


def make_output(folder: str) -> None:
    """Make the folder for the results where there is none, and see that it takes files.

    Raises:
        OSError: it cannot be made, or takes none.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(
            f"--output {folder} cannot be written ({error.strerror}); name another folder"
        ) from error


def find_inputs(options: CountOptions) -> tuple[list[Task], list[LeftOut]]:
    """Images that the options name, and what their folders hold beside.

    Raises:
        FileNotFoundError: there are none.
        FileExistsError: the results would lie beside the images, or replace one.
    """
    if options.video is None:
        images, left_out = find_images(options.inputs)
        tasks = plan_pictures(images, options.output if options.pictures else None)
        tasks = plan_slides(tasks, OVERVIEW)
        if any(task.folder is not None for task in tasks):
            import_tiffslide()
        return tasks, left_out
    video = Path(local_path(options.video) if is_url(options.video) else options.video)
    if not video.is_file():
        raise FileNotFoundError(f"the video {video} does not exist")
    film = Path(f"{video.stem}.mp4") if options.pictures else None
    if film and Path(options.output, film).resolve() == video.resolve():
        raise FileExistsError(f"{video} would be replaced; name another output folder")
    return [Task(ImageSource(video), film)], []


def run(job: Job, ended: Callable[[Outcome], None] = lambda outcome: None) -> int:
    """Count, and write and log the results.

    Args:
        job: from :func:`prepare`.
        ended: called with what the run has come to, in one process.

    Returns:
        0, or 1 where something was not counted.
    """
    if job.options.video:
        return _count_frames(job, ended)
    progress = Progress(job.options.output, job.tasks)

    def merge():
        others = other_pictures(Path(job.options.output), job.tasks)
        merged = progress.merge()
        summary = write_summary_of(job.options, merged)
        outcome = Outcome(job.options.output, merged, job.left_out, others, summary)
        ended(outcome)
        return report(outcome)

    if job.counter is None:
        from bccd.counting.several import count_in_processes  # needs PyTorch

        return count_in_processes(job.options, job.tasks, merge)
    try:
        count_share(job.options, job.tasks, job.counter)
    except BaseException:
        merge()
        raise
    return merge()


def write_summary_of(options: CountOptions, merged: Merged) -> list[Quantity]:
    """Write ``summary.csv`` of several images; returns what it says, nothing of a single one."""
    path = Path(options.output, SUMMARY_NAME)
    one_with_factor = merged.counted and merged.tally.fields and options.microlitre_factors
    if merged.counted < 2 and not one_with_factor:
        path.unlink(missing_ok=True)  # of another run
        return []
    names = merged.tally.class_names
    intervals = CountIntervals.of(merged.count_intervals or {}, names, str(path))
    summary = summarise(merged.tally, intervals, options.microlitre_factors)
    summary += summarise(merged.slides, intervals)
    write_summary(path, summary)
    return summary


def count_share(
    options: CountOptions,
    tasks: list[Task],
    counter: CellCounter,
    process: int = 0,
    share: Callable[[Callable], list[Task]] = lambda start: start(),
) -> None:
    """Count in the share of one process of the images that are not finished.

    Args:
        options: of the run.
        tasks: of all processes.
        counter: counts.
        process: its number.
        share: gets a function that starts the run and returns the tasks that are left,
            to be called in one process; returns the tasks of this one.
    """
    progress, regions = Progress(options.output, tasks), Regions(options.region)
    mine = share(lambda: progress.start(settings_of(counter, regions)))
    with progress.part(process) as part:
        count_into_folder(mine, counter, options.output, part, regions)
    if isinstance(counter.predictor, ExportedPredictor):
        logger.info(counter.predictor.describe_speed())


def _count_frames(job, ended):
    """Count in the frames of a video, in this process; returns the exit status."""
    (task,) = job.tasks
    output = Path(job.options.output)
    table = count_video(task.file.path, job.counter, output, task.picture)
    failed = {} if table.counted else {printable(task.file.name): NO_FRAMES}
    merged = Merged(table.totals, table.counted, table.noted, failed, [])
    outcome = Outcome(job.options.output, merged, [], other_pictures(output, job.tasks))
    ended(outcome)
    return report(outcome)
