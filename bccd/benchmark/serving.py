"""A study of thousands of fields, and many readers of its pages while counting runs."""

import http.client
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from sqlalchemy import select

from bccd.benchmark.processes import resident_mib
from bccd.data.synthetic import draw_smear
from bccd.study import Study, tables
from bccd.study.worker import work

WHO = "benchmark"
SIZE = (480, 640)
_PAUSE = 2.0  # seconds that a reader looks at a field
_START = 120.0  # seconds that a server may take to answer


def build_study(folder: Path, fields: int, distinct: int, waiting: int) -> None:
    """Make a study of counted fields, of which some are to be counted again.

    Args:
        folder: for it, and for its images; must not exist.
        fields: in it.
        distinct: images that are drawn and counted; the other fields have the same detections, and
            links to the same images.
        waiting: fields that wait to be counted when a server starts.
    """
    images = folder / "images"
    images.mkdir(parents=True)
    paths = []
    for index in range(distinct):
        paths.append(images / f"smear {index:05}.jpg")
        cv2.imwrite(str(paths[-1]), draw_smear(index, *SIZE)[0])
    with Study.open(folder / "study", create=True) as study:
        study.allow_folder(images)
        study.add(paths, WHO)
        study.count(WHO)
        work(study, until_idle=True)
        _multiply(study, images, paths, fields)
        study.count(WHO, list(range(fields - waiting + 1, fields + 1)))


def _multiply(study, images, paths, fields):
    with study.database.write() as connection:
        rows = [dict(r._mapping) for r in connection.execute(select(tables.fields))]
        found = tables.detections.c
        packed = {r.field: r.packed for r in connection.execute(select(found.field, found.packed))}
        for number in range(len(rows) + 1, fields + 1):
            row = rows[number % len(rows)]
            path = images / f"smear {number - 1:05}.jpg"
            os.link(paths[number % len(rows)], path)
            new = {**row, "id": number, "name": path.name, "path": str(path)}
            connection.execute(tables.fields.insert().values(**new))
            content = packed[row["id"]]
            connection.execute(tables.detections.insert().values(field=number, packed=content))


class Server:
    """``bccd serve`` in a process; use it in a ``with`` block.

    Attributes:
        port: where it listens.
        pid: of the process.
    """

    def __init__(self, study: Path) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "bccd", "serve", str(study), "--port", "0"]
        self._process = subprocess.Popen(
            [*command, "--no-browser", "--json"], stdout=subprocess.PIPE, text=True
        )
        document = json.loads(_read_document(self._process.stdout))
        self.port, self.pid = (
            int(document["address"].split(":")[2].split("/")[0]),
            self._process.pid,
        )
        end = time.monotonic() + _START
        while True:
            try:
                Reader(self.port).get("/api/change")
                return
            except OSError:
                if time.monotonic() > end or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def __enter__(self) -> "Server":
        """Return the server itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        self._process.stdout.close()


def _read_document(lines):
    """The one JSON document that a command prints."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip() == "}":
            break
    return text


class Reader:
    """A browser's requests, and how long each took.

    Attributes:
        seconds: of the answers, by kind.
    """

    def __init__(self, port: int) -> None:
        """``port``: of the server, on this computer."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.seconds: dict[str, list[float]] = {}

    def get(self, path: str, kind: str = "") -> bytes:
        """The answer, whose time is noted; OSError where it is none."""
        start = time.perf_counter()
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        content = answer.read()
        self.seconds.setdefault(kind or path, []).append(time.perf_counter() - start)
        if answer.status != 200:
            raise OSError(f"{path}: {answer.status}, {content[:200]!r}")
        return content

    def open_study(self) -> dict:
        """What the first page asks for."""
        self.get("/", "first page")
        return json.loads(self.get("/api/fields", "all fields"))

    def open_field(self, number: int) -> None:
        """What the page of a field asks for."""
        self.get(f"/fields/{number}", "page of a field")
        field = json.loads(self.get(f"/api/fields/{number}", "boxes of a field"))
        smallest = field["levels"][-1]
        level = smallest["level"] if isinstance(smallest, dict) else smallest[0]
        self.get(f"/api/fields/{number}/tiles/{level}/0/0", "tile")
        self.get(f"/api/fields/{number}/thumbnail", "small picture")
        self.get("/api/change", "poll")


def read_together(port: int, readers: int, seconds: float, fields: int) -> dict[str, list[float]]:
    """Seconds of the answers to readers who look at fields at the same time.

    Args:
        port: of the server.
        readers: their number.
        seconds: for which they read.
        fields: of the study.
    """
    found: dict[str, list[float]] = {}
    failures: list[Exception] = []
    lock, end = threading.Lock(), time.monotonic() + seconds

    def read(number):
        chance, reader = random.Random(number), Reader(port)
        try:
            time.sleep(_PAUSE * chance.random())
            while time.monotonic() < end:
                reader.open_field(chance.randint(1, fields))
                time.sleep(_PAUSE)
        except Exception as error:
            failures.append(error)
        with lock:
            for kind, times in reader.seconds.items():
                found.setdefault(kind, []).extend(times)

    threads = [threading.Thread(target=read, args=(n,)) for n in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return found


def measure_server(folder: Path, fields: int, readers: int, seconds: float) -> dict:
    """Measure a server of a study that :func:`build_study` made.

    Args:
        folder: of it.
        fields: in the study.
        readers: at once.
        seconds: for which they read.

    Returns:
        milliseconds: to ``open`` the study for the first time, and of each kind of answer with all
        readers (median, 95th percentile, largest); ``mib`` of the server with its worker and the
        processes that read images; fields counted meanwhile.
    """
    with Server(folder / "study") as server:
        before = _counted(folder)
        start, first = time.perf_counter(), Reader(server.port)
        rows = len(first.open_study()["rows"])
        opened = time.perf_counter() - start
        again = Reader(server.port)
        start = time.perf_counter()
        again.open_study()
        opened_again = time.perf_counter() - start
        times = read_together(server.port, readers, seconds, fields)
        return {
            "fields": rows,
            "open_ms": round(1000 * opened),
            "open_again_ms": round(1000 * opened_again),
            "readers": readers,
            "answers": {kind: _spread(each) for kind, each in sorted(times.items())},
            "mib": round(resident_mib(server.pid)),
            "counted_meanwhile": _counted(folder) - before,
        }


def _counted(folder):
    with Study.open(folder / "study") as study, study.database.read() as connection:
        return sum(connection.scalars(select(tables.fields.c.counting)))


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    milliseconds = 1000 * np.array(seconds)
    return {
        "number": len(seconds),
        "median_ms": round(float(np.median(milliseconds)), 1),
        "p95_ms": round(float(np.percentile(milliseconds, 95)), 1),
        "max_ms": round(float(milliseconds.max()), 1),
    }
