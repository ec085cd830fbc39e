"""Results that a program has, as the files that ``bccd count`` writes."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from bccd.counting.coco_file import CocoFile
from bccd.counting.count_table import CountTable
from bccd.counting.detection_files import Found, describe_run, relative_names
from bccd.counting.result import CountResult
from bccd.data.images.decoding import is_url


def write_csv(results: Iterable[CountResult], path: Path, class_names: tuple[str, ...]) -> None:
    """Write ``counts.csv``, see :class:`CountTable`, replacing an older file.

    Raises:
        ValueError: a result has other classes.
        OSError: the file cannot be written.
    """
    with tempfile.TemporaryFile("w+", encoding="ascii") as spool:
        names = _spool(results, spool, class_names)
        with CountTable(path, class_names) as table:
            for name, status, found in _entries(names, spool):
                if found is None:
                    table.skip(name, status)
                else:
                    counts = found.count(class_names)
                    about = found.notes, found.scale, found.area, found.intervals
                    table.add(name, counts, *about)


def write_detections(results: Iterable[CountResult], path: Path, settings: dict) -> None:
    """Write ``detections.json``, see :class:`CocoFile`, replacing an older file.

    Args:
        results: of one counter.
        path: of the file.
        settings: what the detections depend on; the keys of ``threshold`` and ``color`` are the
            classes.

    Raises:
        ValueError, OSError: as :func:`write_csv`.
    """
    class_names = tuple(settings["threshold"])
    with tempfile.TemporaryFile("w+", encoding="ascii") as spool:
        names = _spool(results, spool, class_names)
        file = CocoFile(path, settings["color"], describe_run(settings))
        for number, (name, status, found) in enumerate(_entries(names, spool), start=1):
            if found is None:
                file.skip({"id": number, "file_name": name, "status": status})
            else:
                file.add(found.to_coco_image(number, name), found.detections)
        file.close()


def _spool(results, spool, class_names):
    """Write a line for each result, as their names depend on all of them; returns the names."""
    files = []
    for result in results:
        if not isinstance(result, CountResult):
            raise TypeError(
                f"expected a CountResult, not {type(result).__name__}; CellCounter.stream counts "
                "in an iterable of images"
            )
        if result.class_names != class_names:
            raise ValueError(
                f"{result} has the classes {', '.join(result.class_names)}; expected "
                f"{', '.join(class_names)}: it is of another counter"
            )
        found = Found.of(result)._asdict() if result.ok else None
        spool.write(json.dumps([result.status, found]) + "\n")
        files.append(result.file)
    spool.seek(0)
    return _names(files)


def _names(files):
    """The names of images in a file: relative paths, or ``image-3`` of one without a file."""
    names = [file or f"image-{number}" for number, file in enumerate(files, start=1)]
    local = [i for i, file in enumerate(files) if file and not is_url(file)]
    for i, name in zip(local, relative_names([files[i] for i in local]), strict=True):
        names[i] = name
    return names


def _entries(names: list[str], spool) -> Iterator[tuple[str, str, Found | None]]:
    for name, line in zip(names, spool, strict=True):
        status, found = json.loads(line)
        yield name, status, None if found is None else Found(**found)
