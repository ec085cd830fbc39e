"""Annotated copies of images and videos, with their detections and counts as files."""

import errno
from contextlib import closing, contextmanager
from functools import partial
from itertools import count, takewhile
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from bccd.counting.count_notes import Limits, count_notes, is_grey
from bccd.counting.detection_files import DetectionFiles, Found, printable, to_coco_results
from bccd.counting.image_errors import ImageError, blame_image, in_plain_words
from bccd.counting.inputs import Video
from bccd.counting.progress import version
from bccd.data.images.decoding import read_bgr
from bccd.data.loading.ahead import map_ahead
from bccd.visualization.drawing import draw_detections
from bccd.visualization.png import write_png

AHEAD = 4  # images read, and as many drawn, while the model works on one
BLANK = np.full((480, 640, 3), 230, dtype=np.uint8)  # a field without cells
NO_FRAMES = "unreadable: not a video that OpenCV can decode"
NAME_ERRORS = (errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EILSEQ)
NOTED = ", see its notes"  # in the title of a picture whose count should not be trusted


def keep_confident(found, thresholds):
    """Those of ``Detections`` whose score reaches the threshold of their class.

    Args:
        found (Detections): of one image.
        thresholds: {class name: score in [0, 1]}, in the order of the classes.
    """
    limits = np.array(list(thresholds.values()), dtype=np.float32)
    return found[found.scores >= limits[found.classes]]


class CountingDetector:
    """A predictor with the thresholds and limits that make counts of its detections."""

    def __init__(self, predictor, thresholds):
        """Take the detector.

        Args:
            predictor: BGR uint8 array (H, W, 3) -> ``Detections``. Where it has ``prepare``
                and ``detect`` (see ``Predictor``), the first runs ahead of the second;
                where it has the attributes of ``Limits``, counts beyond them carry notes,
                and where it has ``class_colors``, pictures show them.
            thresholds: {class name: score in [0, 1]}, in the order of the classes; detections
                below are left out everywhere.
        """
        self.prepare = getattr(predictor, "prepare", lambda image: image)
        self._detect = getattr(predictor, "detect", predictor)
        self._thresholds = thresholds
        self._limits = Limits.of(predictor)
        colors = getattr(predictor, "class_colors", None)
        self.style = {"class_names": list(thresholds), "colors": colors}

    def detect(self, image, inputs):
        """``Detections`` that count in ``image``, of what ``prepare`` made of it, and the notes."""
        found = self._detect(inputs)
        scores = found.scores.tolist()
        size, grey = image.shape[:2], is_grey(image)
        notes = count_notes(size, scores, self._thresholds, self._limits, grey=grey)
        return keep_confident(found, self._thresholds), notes

    def check(self):
        """Detect in a blank field; raises what is wrong with the detector itself."""
        self._detect(self.prepare(BLANK))


def annotate_images(tasks, predictor, thresholds, output, part):
    """Detect cells in images and note each that is finished; write its PNG where one is wanted.

    The next images are read and resized, and the last ones drawn, while the model works. No more
    than a few images are in memory, however many there are. An image that fails at any stage is
    noted and skipped; see ``blame_image`` for the errors that end the run.

    Args:
        tasks: list of ``progress.Task``.
        predictor, thresholds: see :class:`CountingDetector`.
        output: existing folder.
        part: ``progress.Part``.
    """
    detector = CountingDetector(predictor, thresholds)
    draw = partial(draw_found, **detector.style)

    def read(task):
        seen = version(task.file)
        with noting_failure(part, task, seen):
            with blame_image("unreadable", file=task.file):
                image = read_bgr(task.file)
            with blame_image("cannot be resized", lambda: detector.prepare(BLANK)):
                return (task, seen), image, detector.prepare(image)

    def detect(owner, image, inputs):
        with noting_failure(part, *owner), blame_image("detection failed", detector.check):
            return (owner, image, *detector.detect(image, inputs))

    def finish(owner, image, cells, notes):
        task, seen = owner
        with noting_failure(part, task, seen):
            if task.picture is not None:
                with blame_image("cannot be drawn", lambda: draw(BLANK, cells[:0])):
                    title = printable(task.file.name) + (NOTED if notes else "")
                    picture = draw(image, cells, title=title)
                with blame_name():
                    write_png(Path(output, task.picture), picture)
            height, width = image.shape[:2]
            part.finish(task, seen, Found(width, height, to_coco_results(cells), notes))

    with closing(map_ahead(read, tasks, AHEAD)) as ready:
        work_ahead(ready, detect, finish, total=len(tasks), unit="image")


@contextmanager
def noting_failure(part, task, seen):
    """End the ``with`` block at an ``ImageError``, which ``part`` notes."""
    try:
        yield
    except ImageError as error:
        part.fail(task, seen, error)
        tqdm.write(f"Skipped: {printable(task.file)} ({error})")


@contextmanager
def blame_name():
    """Turn the error of a file name that cannot be written into an ``ImageError``."""
    try:
        yield
    except OSError as error:
        if error.errno not in NAME_ERRORS:  # a full disk is no fault of the image
            raise
        raise ImageError(f"its picture cannot be written: {in_plain_words(error)}") from error


def annotate_video(video, predictor, thresholds, output, settings, pictures=True):
    """Detect cells in each frame; write ``detections.json``, ``counts.csv`` and an mp4.

    Frames are read and drawn as the images of ``annotate_images``, with a few in memory at a time.
    Other arguments as there.

    Args:
        video: Path of the video.
        settings: see ``DetectionFiles``.
        pictures: write the mp4.

    Returns:
        CountTable: the closed table of the frames; nothing is counted if there are none.
    """
    detector, name = CountingDetector(predictor, thresholds), printable(video.name)
    draw = partial(draw_found, **detector.style)
    with Video(video) as frames, DetectionFiles(output, settings) as results:
        film = Film(Path(output, f"{video.stem}.mp4"), frames.frames_per_second)
        stream = iter(frames)

        def read(number):
            frame = next(stream, None)
            return None if frame is None else (number, frame, detector.prepare(frame))

        def detect(number, frame, inputs):
            return (number, frame, *detector.detect(frame, inputs))

        def finish(number, frame, cells, notes):
            if pictures:
                film.add(draw(frame, cells, title=f"frame {number}"))
            height, width = frame.shape[:2]
            found = Found(width, height, to_coco_results(cells), notes)
            results.add(f"{name}#{number}", found)

        with closing(film), closing(map_ahead(read, count(), AHEAD)) as read_ahead:
            ready = takewhile(lambda frame: frame is not None, read_ahead)
            work_ahead(ready, detect, finish, total=frames.frame_count, unit="frame")
        if not results.table.images:
            results.skip(name, NO_FRAMES)
    return results.table


def work_ahead(ready, detect, finish, **progress):
    """Detect in images while those before are finished by another thread.

    Args:
        ready: iterable of the arguments of ``detect``; None passes both by.
        detect (callable): gives the arguments of ``finish``, or None.
        finish (callable): called in the order of ``ready``.
        progress: arguments of ``tqdm``.
    """

    def finish_one(found):
        if found is not None:
            finish(*found)

    found = (None if inputs is None else detect(*inputs) for inputs in ready)
    with closing(map_ahead(finish_one, found, AHEAD)) as finished:
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


def draw_found(image_bgr, found, **style):
    """Draw ``Detections`` with class names, scores and the legend; returns RGB uint8.

    ``style``: ``class_names`` and more of ``draw_detections``.
    """
    found = found.boxes, found.classes, found.scores
    return draw_detections(image_bgr[:, :, ::-1], *found, **style)
