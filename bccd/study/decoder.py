"""Images read in a process of their own, which may die without harm."""

import json
import queue
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bccd.study.errors import StudyError
from bccd.study.python_process import end_process, start_module

SECONDS = 120.0  # after which an image is given up


class Source(NamedTuple):
    """Where the pixels of a field are.

    Attributes:
        field: its number.
        path: of the file, checked.
        page: of it, from 1; None: the file is the image.
        window: left, top, width, height in a slide; None: all of the image.
    """

    field: int
    path: Path
    page: int | None = None
    window: tuple[int, int, int, int] | None = None


class Decoder:
    """One process that reads images; one thread at a time uses it."""

    def __init__(self, seconds: float = SECONDS) -> None:
        """``seconds``: after which an image is given up."""
        self._seconds = seconds
        self._process: subprocess.Popen | None = None

    def ask(self, request: dict) -> tuple[dict, bytes]:
        """The answer of :mod:`bccd.study.decode`.

        Raises:
            StudyError: the image cannot be read, or reading it ended the process.
        """
        process = self._started()
        late = threading.Event()

        def give_up():
            late.set()
            process.kill()

        timer = threading.Timer(self._seconds, give_up)
        timer.start()
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            content = process.stdout.read(answer["bytes"])
            if len(content) != answer["bytes"]:
                raise ValueError("cut short")
        except (OSError, ValueError):
            self.close()
            if late.is_set():
                raise StudyError(
                    f"unreadable: it takes more than {self._seconds:.0f} seconds"
                ) from None
            raise StudyError("unreadable: the program that reads images ended on it") from None
        finally:
            timer.cancel()
        if "error" in answer:
            raise StudyError(f"unreadable: {answer['error']}")
        return answer, content

    def pixels(self, source: Source) -> tuple[np.ndarray, float | None]:
        """Pixels, uint8 BGR (H, W, 3), and micrometres per pixel or None; raises as :meth:`ask`."""
        answer, content = self.ask(to_request("pixels", source))
        image = np.frombuffer(content, np.uint8).reshape(answer["shape"])
        return image, answer["micrometres_per_pixel"]

    def close(self) -> None:
        """End the process; the next question starts another one."""
        process, self._process = self._process, None
        if process is not None:
            end_process(process)

    def _started(self):
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = start_module("bccd.study.decode", answers=True)
        return self._process


class Decoders:
    """Several, for several threads."""

    def __init__(self, number: int, seconds: float = SECONDS) -> None:
        """``number``: of processes, which start when they are needed."""
        self._all = [Decoder(seconds) for _ in range(number)]
        self._free: queue.LifoQueue[Decoder] = queue.LifoQueue()
        for decoder in self._all:
            self._free.put(decoder)

    @contextmanager
    def one(self) -> Iterator[Decoder]:
        """One that nobody else uses meanwhile."""
        decoder = self._free.get()
        try:
            yield decoder
        finally:
            self._free.put(decoder)

    def close(self) -> None:
        """End the processes."""
        for decoder in self._all:
            decoder.close()


def to_request(do: str, source: Source, **more: str) -> dict:
    """What :meth:`Decoder.ask` takes."""
    about = {"path": str(source.path), "page": source.page, "window": source.window}
    return {"do": do, **about, **more}
