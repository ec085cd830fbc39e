"""The finished images of a run on disk, so that a second start goes on where the first ended."""

import contextlib
import json
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

from bccd.counting.detection_files import (
    CSV_NAME,
    JSON_NAME,
    DetectionFiles,
    Found,
    common_folder,
    relative_names,
)
from bccd.counting.inputs import Task
from bccd.counting.slides.cells_file import CELLS
from bccd.counting.summary import CSV_NAME as SUMMARY_NAME
from bccd.counting.summary import Tally

FOLDER = "unfinished"
SETTINGS = "settings.json"
UNDONE = "not done yet: start the same command again"

logger = logging.getLogger(__name__)


class Merged(NamedTuple):
    """What a run has come to.

    Attributes:
        totals: {class name: int} over the counted images.
        counted, noted (int): images, and those of them whose counts carry notes.
        failed: {relative path: why} of the images that cannot be counted.
        undone: relative paths of the images that nobody has come to yet.
        tally, slides: of the counted fields and slides; None: nothing was started.
        count_intervals: of the run, see ``CountIntervals.of``; None: it has none.
    """

    totals: dict
    counted: int
    noted: int
    failed: dict
    undone: list
    tally: Tally | None = None
    slides: Tally | None = None
    count_intervals: dict | None = None


class Progress:
    """What is finished of a list of images, in ``<output>/unfinished/`` until all of it is.

    ``settings.json`` says what the detections depend on. Each process appends to its own
    ``part-<process>.jsonl`` one line per image: ``file``, ``version`` (bytes and time of its last
    change), ``picture``, and what was found (``Found``) or ``error``. A line that a kill has cut
    short does not count. Detections are read one image at a time; memory holds the places of the
    lines only.
    """

    def __init__(self, output: str | os.PathLike, tasks: Sequence[Task]) -> None:
        """Args:
        output: existing folder for the results.
        tasks: in order of input.
        """
        self.output = Path(output)
        self.folder = self.output / FOLDER
        self.tasks = tasks

    def start(self, settings: dict) -> list[Task]:
        """Go on with an unfinished run of the same settings, or else start afresh.

        Args:
            settings: what the detections depend on beside the images, for JSON; see
                ``DetectionFiles``.

        Returns:
            those that are not finished.
        """
        settings, earlier = json.loads(json.dumps(settings)), self._settings()
        if earlier != settings:
            if earlier is not None:
                changed = sorted(k for k in settings if settings[k] != earlier.get(k))
                logger.warning(
                    f"{self.folder} is of a run with another {' and '.join(changed)}: "
                    "starting afresh"
                )
            self._clear()
            # Those of an older run would pass for this one's.
            for name in (JSON_NAME, CSV_NAME, SUMMARY_NAME):
                (self.output / name).unlink(missing_ok=True)
            self.folder.mkdir(exist_ok=True)
            _write_whole(self.folder / SETTINGS, json.dumps(settings, indent=2) + "\n")
        finished, _ = self._index()
        if finished:
            logger.info(
                f"{len(finished)} of {len(self.tasks)} images were finished by an earlier start"
            )
        return [task for task in self.tasks if task not in finished]

    @contextlib.contextmanager
    def part(self, process: int) -> Iterator["Part"]:
        """Open the part of a process (its number) to append to; gives a :class:`Part`."""
        with open(self.folder / f"part-{process}.jsonl", "a", encoding="utf-8") as file:
            file.write("\n")  # ends a line that a kill has cut short
            yield Part(file)

    def merge(self) -> Merged:
        """Write ``detections.json`` and ``counts.csv`` of what is finished, in order of input.

        When nothing is missing, the folder of the progress is removed.

        """
        names = relative_names([task.file for task in self.tasks])
        settings = self._settings()
        if settings is None:  # it ended before anything was started
            return Merged({}, 0, 0, {}, names)
        finished, failed = self._index()
        failures, undone = {}, []
        with contextlib.ExitStack() as stack:
            paths = {path for path, _ in (*finished.values(), *failed.values())}
            parts = {path: stack.enter_context(open(path, "rb")) for path in paths}
            files = DetectionFiles(self.folder, settings, self.output, self._images_folder())
            results = stack.enter_context(files)

            def entry(place):
                path, offset = place
                parts[path].seek(offset)
                return json.loads(parts[path].readline())

            for task, name in zip(self.tasks, names, strict=True):
                if task in finished:
                    found = entry(finished[task])
                    results.add(name, Found(*(found[key] for key in Found._fields)))
                elif task in failed:
                    failures[name] = entry(failed[task])["error"]
                    results.skip(name, failures[name])
                else:
                    undone.append(name)
                    results.skip(name, UNDONE)
        for name in (JSON_NAME, CSV_NAME):
            os.replace(self.folder / name, self.output / name)
        if not failures and not undone:
            self._clear()
        table = results.table
        intervals = settings.get("count_intervals")
        counted = table.totals, table.counted, table.noted
        return Merged(*counted, failures, undone, table.tally, table.slides, intervals)

    def _images_folder(self):
        """As seen from the output folder: both may be moved together."""
        if not self.tasks:
            return None
        folder = common_folder(task.file for task in self.tasks)
        return Path(os.path.relpath(os.path.realpath(folder), os.path.realpath(self.output)))

    def _settings(self):
        """Those of the run whose progress is in the folder; None without one."""
        path = self.folder / SETTINGS
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def _index(self):
        """{Task: (part, offset of its line)} of the finished, and of those that failed."""
        known = {(str(task.file), _text(task.picture)): task for task in self.tasks}
        finished, failed = {}, {}
        for path, offset, entry in self._entries():
            task = known.get((entry["file"], entry["picture"]))
            if task is None or version(task.file) not in (None, entry["version"]):
                continue  # a file that was deleted after it was seen is as it was seen
            if "error" in entry:
                failed[task] = path, offset
            elif self._has_files(task):
                finished[task] = path, offset
        return finished, failed

    def _has_files(self, task):
        """Whether the files of a finished image are still there."""
        wanted = [task.picture, task.folder and task.folder / CELLS]
        return all(name is None or (self.output / name).is_file() for name in wanted)

    def _entries(self):
        for path in sorted(self.folder.glob("part-*.jsonl")):
            with open(path, "rb") as file:
                offset = 0
                for line in file:
                    with contextlib.suppress(ValueError):  # cut short, or empty
                        yield path, offset, json.loads(line)
                    offset += len(line)

    def _clear(self):
        for path in (*self.folder.glob("part-*.jsonl"), *self.folder.glob(f"{SETTINGS}*")):
            path.unlink()
        with contextlib.suppress(OSError):  # missing; or the user keeps something in it
            self.folder.rmdir()


class Part:
    """Appends finished images to the part of one process, each at once on disk."""

    def __init__(self, file: TextIO) -> None:
        """``file``: open text file."""
        self._file = file
        self._lock = threading.Lock()

    def finish(self, task: Task, seen: list[int] | None, found: Found) -> None:
        """Note what was ``Found`` in the image of ``task``, whose file was ``seen`` (a version)."""
        self._add(task, seen, found._asdict())

    def fail(self, task: Task, seen: list[int] | None, error: object) -> None:
        """Note why the image of ``task`` cannot be counted; another start tries it again."""
        self._add(task, seen, {"error": str(error)})

    def _add(self, task, seen, outcome):
        entry = {"file": str(task.file), "version": seen, "picture": _text(task.picture)}
        line = json.dumps({**entry, **outcome}) + "\n"
        with self._lock:  # of the threads that read and draw
            self._file.write(line)
            self._file.flush()


def version(file: str | os.PathLike) -> list[int] | None:
    """[bytes, time of the last change in ns] of a file; None if it is missing."""
    try:
        state = os.stat(file)
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns]


def _text(path):
    return None if path is None else str(path)


def _write_whole(path, text):
    """Write a file that is never seen half written."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
