"""Annotated copies of images and videos, with their detections and counts as files."""

from contextlib import closing
from itertools import count, takewhile
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from bccd.data.ahead import map_ahead
from bccd.data.classes import CLASS_NAMES
from bccd.data.decoding import read_bgr
from bccd.data.inputs import Video
from bccd.data.own_pictures import mark
from bccd.visualization.detection_files import DetectionFiles, to_coco_results
from bccd.visualization.drawing import draw_detections
from bccd.visualization.progress import version

AHEAD = 4  # images read, and as many drawn, while the model works on one


def keep_confident(found, thresholds):
    """Those of ``Detections`` whose score reaches the threshold of their class.

    Args:
        found (Detections): of one image.
        thresholds: {class name: score in [0, 1]}.
    """
    limits = np.array([thresholds[name] for name in CLASS_NAMES], dtype=np.float32)
    return found[found.scores >= limits[found.classes]]


def annotate_images(tasks, predictor, thresholds, output, part):
    """Detect cells in images and note each that is finished; write its PNG where one is wanted.

    The next images are read and resized, and the last ones drawn, while the model works. No more
    than a few images are in memory, however many there are.

    Args:
        tasks: list of ``progress.Task``.
        predictor: BGR uint8 array (H, W, 3) -> ``Detections``. Where it has ``prepare``
            and ``detect`` (see ``Predictor``), the first runs ahead of the second.
        thresholds: {class name: score in [0, 1]}, detections below are left out everywhere.
        output: existing folder.
        part: ``progress.Part``. An image that cannot be read is noted there, too.
    """
    prepare = getattr(predictor, "prepare", lambda image: image)

    def read(task):
        seen = version(task.file)
        try:
            image = read_bgr(task.file)
        except Exception as error:  # whatever a decoder makes of a damaged file
            tqdm.write(f"Skipped, not a readable image: {task.file} ({error})")
            part.fail(task, seen, error)
            return None
        return (task, seen), image, prepare(image)

    def finish(found):
        (task, seen), image, cells = found
        if task.picture is not None:
            picture = draw_cells(image, cells, title=task.file.name)
            write_png(Path(output, task.picture), picture)
        part.finish(task, seen, to_coco_results(cells))

    with closing(map_ahead(read, tasks, AHEAD)) as read_ahead:
        ready = (images for images in read_ahead if images is not None)
        detect_ahead(ready, predictor, thresholds, finish, total=len(tasks), unit="image")


def annotate_video(video, predictor, thresholds, output, pictures=True):
    """Detect cells in each frame; write ``detections.json``, ``counts.csv`` and an mp4.

    Frames are read and drawn as the images of ``annotate_images``, with a few in memory at a time.
    Other arguments as there.

    Args:
        video: Path of the video.
        pictures: write the mp4.

    Returns:
        dict of totals {class name: int}, sums over frames, and the list of unreadable files.
    """
    prepare = getattr(predictor, "prepare", lambda image: image)
    with Video(video) as frames, DetectionFiles(output) as results:
        film = Film(Path(output, f"{video.stem}.mp4"), frames.frames_per_second)
        stream = iter(frames)

        def read(number):
            frame = next(stream, None)
            return None if frame is None else (number, frame, prepare(frame))

        def finish(found):
            number, frame, cells = found
            if pictures:
                film.add(draw_cells(frame, cells, title=f"frame {number}"))
            results.add(f"{video.name}#{number}", to_coco_results(cells))

        with closing(film), closing(map_ahead(read, count(), AHEAD)) as read_ahead:
            ready = takewhile(lambda frame: frame is not None, read_ahead)
            size = {"total": frames.frame_count, "unit": "frame"}
            detect_ahead(ready, predictor, thresholds, finish, **size)
    return results.totals, [] if results.image_count else [video]


def detect_ahead(ready, predictor, thresholds, finish, **progress):
    """Detect in images while those before are finished by another thread.

    Args:
        ready: iterable of (anything, image, what ``predictor`` prepared of it).
        finish (callable): called with (anything, image, ``Detections`` that count), in order.
        progress: arguments of ``tqdm``.
    """
    detect = getattr(predictor, "detect", predictor)
    found = (
        (owner, image, keep_confident(detect(inputs), thresholds)) for owner, image, inputs in ready
    )
    with closing(map_ahead(finish, found, AHEAD)) as finished:
        for _ in tqdm(finished, **progress):
            pass


class Film:
    """An mp4 that is opened with its first picture, whose size is that of all."""

    def __init__(self, path, frames_per_second):
        """``path`` is replaced by the first picture."""
        self._path, self._rate, self._writer = path, frames_per_second, None

    def add(self, picture):
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

    def close(self):
        """Finish the file, if there was a picture."""
        if self._writer is not None:
            self._writer.release()


def _even(picture):
    """Drop an odd last row or column: the codec stores colour for blocks of 2x2 pixels."""
    return np.ascontiguousarray(picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2])


def draw_cells(image_bgr, found, title=""):
    """Draw ``Detections`` with class names, scores and the legend; returns RGB uint8."""
    return draw_detections(
        image_bgr[:, :, ::-1], found.boxes, found.classes, found.scores, title=title
    )


def write_png(path, picture_rgb):
    """Write an RGB array as PNG, in folders created where needed.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", np.ascontiguousarray(picture_rgb[:, :, ::-1]))
    path.write_bytes(mark(data.tobytes()))
