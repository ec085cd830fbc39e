"""The finished images of a run on disk, so that a second start goes on where the first ended."""

import contextlib
import json
import logging
import os
from pathlib import Path
from typing import NamedTuple

from bccd.data.classes import CLASS_NAMES
from bccd.visualization.detection_files import CSV_NAME, JSON_NAME, DetectionFiles

FOLDER = "unfinished"

logger = logging.getLogger(__name__)


class Task(NamedTuple):
    """An image to analyse, and the name of its picture in the output folder (None: no picture)."""

    file: Path
    picture: Path | None


class Merged(NamedTuple):
    """What a merge found: totals {class: int}, files that could not be read, files not done yet."""

    totals: dict
    broken: list
    undone: list


class Progress:
    """What is finished of a list of images, in ``<output>/unfinished/`` until all of it is.

    ``settings.json`` says what the detections depend on. Each process appends to its own
    ``part-<process>.jsonl`` one line per image: ``file``, ``version`` (bytes and time of its last
    change), ``picture``, and ``detections`` or ``error``. A line that a kill has cut short does
    not count. Detections are read one image at a time; memory holds the places of the lines only.
    """

    def __init__(self, output, tasks):
        """Args:
        output: existing folder for the results; processes of several machines must share it.
        tasks: list of Task in order of input.
        """
        self.output = Path(output)
        self.folder = self.output / FOLDER
        self.tasks = tasks

    def start(self, settings):
        """Go on with an unfinished run of the same settings, or else start afresh.

        Args:
            settings (dict): what the detections depend on beside the images, for JSON.

        Returns:
            list of Task that are not finished.
        """
        path = self.folder / "settings.json"
        settings = json.loads(json.dumps(settings))
        earlier = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        if earlier != settings:
            if earlier is not None:
                changed = sorted(k for k in settings if settings[k] != earlier.get(k))
                logger.warning(
                    f"{self.folder} is of a run with another {' and '.join(changed)}: "
                    "starting afresh"
                )
            self._clear()
            for name in (JSON_NAME, CSV_NAME):  # of an older run: they would pass for this one's
                (self.output / name).unlink(missing_ok=True)
            self.folder.mkdir(exist_ok=True)
            _write_whole(path, json.dumps(settings, indent=2) + "\n")
        finished, _ = self._index()
        if finished:
            logger.info(
                f"{len(finished)} of {len(self.tasks)} images were finished by an earlier start"
            )
        return [task for task in self.tasks if task not in finished]

    @contextlib.contextmanager
    def part(self, process):
        """Open the part of a process (its number) to append to; gives a :class:`Part`."""
        with open(self.folder / f"part-{process}.jsonl", "a", encoding="utf-8") as file:
            file.write("\n")  # ends a line that a kill has cut short
            yield Part(file)

    def merge(self):
        """Write ``detections.json`` and ``counts.csv`` of what is finished, in order of input.

        When nothing is missing, the folder of the progress is removed.

        Returns:
            Merged.
        """
        if not self.folder.is_dir():  # it ended before anything was started
            return Merged(dict.fromkeys(CLASS_NAMES, 0), [], [task.file for task in self.tasks])
        finished, failed = self._index()
        with contextlib.ExitStack() as stack:
            paths = {path for path, _ in finished.values()}
            parts = {path: stack.enter_context(open(path, "rb")) for path in paths}
            results = stack.enter_context(DetectionFiles(self.folder))
            for task in self.tasks:
                if task in finished:
                    path, offset = finished[task]
                    parts[path].seek(offset)
                    results.add(task.file, json.loads(parts[path].readline())["detections"])
        for name in (JSON_NAME, CSV_NAME):
            os.replace(self.folder / name, self.output / name)
        missing = [task for task in self.tasks if task not in finished]
        if not missing:
            self._clear()
        broken = [task.file for task in missing if task in failed]
        undone = [task.file for task in missing if task not in failed]
        return Merged(results.totals, broken, undone)

    def _index(self):
        """{Task: (part, offset of its line)} of the finished, and the set of the failed ones."""
        known = {(str(task.file), _text(task.picture)): task for task in self.tasks}
        finished, failed = {}, set()
        for path, offset, entry in self._entries():
            task = known.get((entry["file"], entry["picture"]))
            if task is None or entry["version"] != version(task.file):
                continue
            if "error" in entry:
                failed.add(task)
            elif task.picture is None or (self.output / task.picture).is_file():
                finished[task] = path, offset
        return finished, failed

    def _entries(self):
        for path in sorted(self.folder.glob("part-*.jsonl")):
            with open(path, "rb") as file:
                offset = 0
                for line in file:
                    with contextlib.suppress(ValueError):  # cut short, or empty
                        yield path, offset, json.loads(line)
                    offset += len(line)

    def _clear(self):
        for path in (*self.folder.glob("part-*.jsonl"), *self.folder.glob("settings.json*")):
            path.unlink()
        with contextlib.suppress(OSError):  # missing; or the user keeps something in it
            self.folder.rmdir()


class Part:
    """Appends finished images to the part of one process, each at once on disk."""

    def __init__(self, file):
        """``file``: open text file."""
        self._file = file

    def finish(self, task, seen, detections):
        """Note the detections (see ``to_coco_results``) of ``task``, whose file was ``seen``."""
        self._add(task, seen, {"detections": detections})

    def fail(self, task, seen, error):
        """Note that the file of ``task`` cannot be read; another start tries it again."""
        self._add(task, seen, {"error": str(error)})

    def _add(self, task, seen, outcome):
        entry = {"file": str(task.file), "version": seen, "picture": _text(task.picture)}
        self._file.write(json.dumps({**entry, **outcome}) + "\n")
        self._file.flush()


def version(file):
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
