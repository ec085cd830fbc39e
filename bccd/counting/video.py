"""Counting in the frames of a video."""

import itertools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from bccd.counting.count_table import CountTable
from bccd.counting.counter import CellCounter
from bccd.counting.detection_files import DetectionFiles, Found, printable
from bccd.counting.pictures import draw_result
from bccd.counting.pipeline import count_ahead
from bccd.shared_cores import SharedCores

NO_FRAMES = "unreadable: not a video that OpenCV can decode"


class Video:
    """Frames of a video file, read one at a time.

    Attributes: ``frames_per_second`` (float) and ``frame_count`` (int or None), as the file
    states them. Iterating gives uint8 arrays (H, W, 3), BGR.

    A file that OpenCV cannot read has no frames.
    """

    def __init__(self, path: Path) -> None:
        """Open ``path``; close it again with ``close`` or a ``with`` block."""
        self._capture = cv2.VideoCapture(str(path))
        self.frames_per_second = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.frame_count = count if count > 0 else None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames in order, once."""
        while True:
            read, frame = self._capture.read()
            if not read:
                return
            yield frame

    def __enter__(self) -> "Video":
        """Return the video itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._capture.release()


class Film:
    """An mp4 that is opened with its first picture, whose size is that of all."""

    def __init__(self, path: Path, frames_per_second: float) -> None:
        """``path`` is replaced by the first picture."""
        self._path, self._rate, self._writer = path, frames_per_second, None

    def add(self, picture: np.ndarray) -> None:
        """Append a picture (H, W, 3), RGB uint8.

        Raises:
            OSError: the file cannot be written.
        """
        picture = _even(picture)
        if self._writer is None:
            codec, size = cv2.VideoWriter_fourcc(*"mp4v"), picture.shape[1::-1]
            self._writer = cv2.VideoWriter(str(self._path), codec, self._rate, size)
            if not self._writer.isOpened():
                raise OSError(f"OpenCV cannot write the video {self._path}")
        self._writer.write(picture[:, :, ::-1])

    def close(self) -> None:
        """Finish the file, if there was a picture."""
        if self._writer is not None:
            self._writer.release()


def _even(picture):
    """Drop an odd last row or column: the codec stores colour for blocks of 2x2 pixels."""
    return np.ascontiguousarray(picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2])


def count_video(
    video: Path, counter: CellCounter, output: Path, film_name: Path | None
) -> CountTable:
    """Count in each frame; write ``detections.json``, ``counts.csv`` and an mp4.

    Frames are read ahead and drawn as images are, see ``count_ahead``.

    Args:
        video: the file.
        counter: counts.
        output: existing folder.
        film_name: of the mp4 with the cells drawn; None: it is not written.

    Returns:
        the closed table of the frames; nothing is counted if there are none.
    """
    name = printable(video.name)
    with Video(video) as frames, DetectionFiles(output, counter.settings) as files:
        film = Film(Path(output, film_name or ""), frames.frames_per_second)
        stream = iter(frames)

        def finish(number, frame, result):
            if not result.ok:
                files.skip(f"{name}#{number}", result.status)
                return
            if film_name is not None:
                film.add(draw_result(frame[:, :, ::-1], result, f"frame {number}"))
            files.add(f"{name}#{number}", Found.of(result))

        finished = count_ahead(
            counter,
            itertools.count(),
            lambda number: next(stream, None),
            finish,
            before=SharedCores().adapt,
        )
        with closing(film), closing(finished):
            for _ in tqdm(finished, total=frames.frame_count, unit="frame"):
                pass
        if not files.table.images:
            files.skip(name, NO_FRAMES)
    return files.table
