"""Counting in many images into an output folder, which a second start goes on with."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from tqdm import tqdm

from bccd.counting.counter import CellCounter
from bccd.counting.detection_files import Found, printable
from bccd.counting.field_info import FieldInfo
from bccd.counting.image_errors import ImageError, blame_image
from bccd.counting.inputs import Task
from bccd.counting.pictures import write_picture
from bccd.counting.pipeline import count_ahead
from bccd.counting.progress import version
from bccd.counting.regions.per_image import Regions
from bccd.counting.slides.count import count_slide
from bccd.counting.slides.result import DENSITY
from bccd.data.images.decoding import read_bgr
from bccd.data.images.own_pictures import is_marked
from bccd.shared_cores import SharedCores


class Notes(Protocol):
    """What keeps the results, as ``progress.Part`` does."""

    def finish(self, task: Task, seen: list[int] | None, found: Found) -> None:
        """Note what was ``Found`` in an image, whose file was ``seen`` (a version)."""

    def fail(self, task: Task, seen: list[int] | None, error: object) -> None:
        """Note why an image cannot be counted."""


def count_into_folder(
    tasks: Sequence[Task], counter: CellCounter, output: Path, part: Notes, regions: Regions
) -> None:
    """As :func:`count_each`, with a bar that shows the progress; then count in slides."""
    images = [task for task in tasks if task.folder is None]
    with closing(count_each(images, counter, output, part, regions)) as finished:
        for _ in tqdm(finished, total=len(images), unit="image", disable=not images):
            pass
    for task in tasks:
        if task.folder is not None:
            _count_slide(task, counter, output, part, regions)


def _count_slide(task, counter, output, part, regions):
    """Count in a slide and note it."""
    seen, path, folder = version(task.file), task.file.path, Path(output, task.folder)
    try:
        drawn = task.picture is not None
        result = count_slide(counter, path, folder, regions, pictures=drawn)
    except (ImageError, FileNotFoundError) as error:
        part.fail(task, seen, error)
        tqdm.write(f"Skipped: {printable(task.file)} ({error})")
    else:
        part.finish(task, seen, Found.of_slide(result, task.folder))


def count_each(
    tasks: Iterable[Task],
    counter: CellCounter,
    output: Path | None,
    part: Notes,
    regions: Regions,
) -> Iterator[None]:
    """Count in images and note each that is finished; write its PNG where one is wanted.

    An image that fails at any stage is noted and skipped; see ``blame_image`` for the errors that
    end the run.

    Args:
        tasks: the images.
        counter: counts.
        output: existing folder; None: no picture is wanted.
        part: notes them.
        regions: of interest.

    Yields:
        None for each image that is noted.
    """
    seen = {}  # versions of the files that were read and are not finished

    def read(task):
        seen[task] = version(task.file)
        with blame_image("unreadable", file=task.file):
            return read_bgr(task.file)

    def describe(task, image):
        with blame_image("region of interest"):
            return FieldInfo.read(task.file, image.shape[:2], regions)

    def finish(task, image, result):
        its_version, status = seen.pop(task), result.status
        if result.ok:
            try:
                if task.picture is not None:
                    write_picture(Path(output, task.picture), image, result, task.file.name)
                return part.finish(task, its_version, Found.of(result))
            except ImageError as error:
                status = str(error)
        part.fail(task, its_version, status)
        tqdm.write(f"Skipped: {printable(task.file)} ({status})")

    # Of a command alone: a program that streams has its own number of threads.
    return count_ahead(counter, tasks, read, finish, describe, SharedCores().adapt)


def other_pictures(output: Path, tasks: Sequence[Task]) -> list[Path]:
    """Sorted pictures in a folder that this project drew, but not of ``tasks``."""
    of_tasks = {task.picture for task in tasks}
    of_tasks |= {task.folder / DENSITY for task in tasks if task.folder is not None}
    found = (path.relative_to(output) for path in sorted(Path(output).rglob("*.png")))
    return [path for path in found if path not in of_tasks and is_marked(Path(output, path))]
