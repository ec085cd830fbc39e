"""Counting, from the flags to the result files; :mod:`bccd.counting.arguments` has the flags."""

import logging
import os
import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bccd.counting.annotate import NO_FRAMES, annotate_images, annotate_video
from bccd.counting.arguments import DEFAULT_THRESHOLD
from bccd.counting.build import build_predictor, choose_runtime, setup_cfg
from bccd.counting.detection_files import printable
from bccd.counting.inputs import LeftOut, find_images, picture_names
from bccd.counting.progress import Merged, Progress, Task
from bccd.counting.report import report
from bccd.data.classes import class_colors
from bccd.logs import log_to_console
from bccd.processes import is_under_torchrun

logger = logging.getLogger(__name__)


class Job(NamedTuple):
    """What is to be counted, and how.

    Attributes:
        args: the flags.
        tasks: of a video its only one.
        left_out: what the input folders hold beside.
        predictor: see ``Predictor``; None: each of several processes builds its own.
    """

    args: Namespace
    tasks: list[Task]
    left_out: list[LeftOut]
    predictor: Callable | None


def prepare(args: Namespace, predictor: Callable | None = None) -> Job:
    """Make what the flags ask for ready; nothing is written.

    Args:
        args: the flags.
        predictor: see ``Predictor``; None: the one that the flags describe.

    Raises:
        OSError, ValueError, ImportError: the flags are wrong, or name what cannot be read.
    """
    log_to_console(int(os.environ.get("RANK", 0)))
    alone = args.num_gpus == 1 and not is_under_torchrun()
    if args.video_input and not alone:
        raise ValueError("--video-input is for one process: leave --num-gpus and torchrun away")
    tasks, left_out = find_inputs(args)
    if predictor is None:
        choose_runtime(args, alone)
    if alone:  # the processes of a larger run build their own
        predictor = predictor or build_predictor(args)
    elif not args.runtime:
        setup_cfg(args)  # its errors, before there are processes
    return Job(args, tasks, left_out, predictor if alone else None)


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


def run(job: Job) -> int:
    """Count, and write and log the results.

    Args:
        job (Job): the folder of its results exists.

    Returns:
        exit status 0 or 1, see ``arguments.DESCRIPTION``.
    """
    args = job.args
    if args.video_input:
        return count_frames(args, job.tasks[0].file.path, job.predictor)
    return count_images(job)


def find_inputs(args: Namespace) -> tuple[list[Task], list[LeftOut]]:
    """Images that the flags name, and what their folders hold beside.

    Raises:
        FileExistsError: the results would lie beside the images, or replace one.
    """
    images, left_out = find_images(args.input or [args.video_input])
    names = picture_names(images) if args.input else [Path(images[0].path.stem + ".mp4")]
    if args.no_pictures:
        names = [None] * len(images)
    output = Path(args.output).resolve()
    for image, name in zip(images, names, strict=True):
        path = image.path.resolve()
        if name and (output / name == path or (args.input and output in path.parents)):
            raise FileExistsError(
                f"--output {args.output} holds the input {image}: pictures would replace images, "
                "or be taken for some; name another folder"
            )
    return [Task(*each) for each in zip(images, names, strict=True)], left_out


def choose_thresholds(predictor: Callable, confidence_threshold: float | None) -> dict[str, float]:
    """Score threshold per class name: the flag's, the checkpoint's, or the default."""
    if confidence_threshold is not None:
        return dict.fromkeys(predictor.class_names, confidence_threshold)
    if predictor.operating_points:
        return {name: predictor.operating_points[name] for name in predictor.class_names}
    logger.warning(
        "The checkpoint has no operating points: every detection with a score of at least "
        f"{DEFAULT_THRESHOLD} counts. Choose another value with --confidence-threshold."
    )
    return dict.fromkeys(predictor.class_names, DEFAULT_THRESHOLD)


def describe_settings(predictor: Callable, thresholds: dict[str, float]) -> dict:
    """What the detections depend on beside the images."""
    identity = getattr(predictor, "identity", type(predictor).__name__)
    colors = class_colors(list(thresholds), getattr(predictor, "class_colors", None))
    colors = {name: list(color) for name, color in zip(thresholds, colors, strict=True)}
    return {"model": identity, "threshold": thresholds, "color": colors}


def count_images(job: Job) -> int:
    """Detect in the images of a Job: here, or where it has no predictor in several processes.

    Returns:
        exit status.
    """
    args, tasks = job.args, job.tasks

    def merge():
        return report(Progress(args.output, tasks).merge(), job.left_out, args)

    if job.predictor is None:
        from bccd.counting.several import count_in_processes  # needs PyTorch

        return count_in_processes(args, tasks, merge)
    try:
        count_share(args, tasks, job.predictor)
    except BaseException:
        merge()
        raise
    return merge()


def count_share(
    args: Namespace,
    tasks: list[Task],
    predictor: Callable,
    process: int = 0,
    share: Callable[[Callable], list[Task]] = lambda start: start(),
) -> None:
    """Detect in the share of one process of the images that are not finished.

    Args:
        args: the flags.
        tasks: of all processes.
        predictor: see ``annotate_images``.
        process: its number.
        share: gets a function that starts the run and returns the tasks that are left,
            to be called in one process; returns the tasks of this one.
    """
    thresholds = choose_thresholds(predictor, args.confidence_threshold)
    progress = Progress(args.output, tasks)
    mine = share(lambda: progress.start(describe_settings(predictor, thresholds)))
    with progress.part(process) as part:
        annotate_images(mine, predictor, thresholds, args.output, part)
    if args.runtime:
        logger.info(predictor.describe_speed())


def count_frames(args: Namespace, video: Path, predictor: Callable) -> int:
    """Detect in the frames of a video, in this process; returns the exit status."""
    thresholds = choose_thresholds(predictor, args.confidence_threshold)
    settings, pictures = describe_settings(predictor, thresholds), not args.no_pictures
    table = annotate_video(video, predictor, thresholds, args.output, settings, pictures)
    failed = {} if table.counted else {printable(video.name): NO_FRAMES}
    return report(Merged(table.totals, table.counted, table.noted, failed, []), [], args)
