"""Annotated copies of images and videos, with their detections and counts as files."""

import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from bccd.config import CLASS_NAMES
from bccd.data.inputs import Video, picture_names, read_bgr
from bccd.visualization.drawing import count_classes, draw_detections


class DetectionFiles:
    """``detections.json`` and ``counts.csv`` of a folder, complete after every image.

    ``detections.json`` is a list of COCO results (``image_id`` from 1 in order of input,
    ``category_id`` from 1 in order of ``CLASS_NAMES``, ``bbox`` [x, y, width, height] in pixels,
    ``score``) with ``file_name`` added. ``counts.csv`` has a row per image and the totals last.
    Both end properly at any moment, so what was done before a crash can be read.
    """

    def __init__(self, folder):
        """Create the two files in ``folder``, replacing older ones. Use in a ``with`` block."""
        self._json = _EndedFile(Path(folder, "detections.json"), "[", "\n]\n")
        header = _csv_line(["file", *CLASS_NAMES, "total"])
        self._csv = _EndedFile(Path(folder, "counts.csv"), header, self._totals({}))
        self.totals = dict.fromkeys(CLASS_NAMES, 0)
        self.image_count = 0
        self._separator = "\n"

    def add(self, file_name, instances):
        """Append the detections of one image (Detectron2 ``Instances`` on the CPU)."""
        self.image_count += 1
        entries = to_coco_results(instances, self.image_count, str(file_name))
        if entries:
            text = self._separator + ",\n".join(json.dumps(entry) for entry in entries)
            self._json.append(text, "\n]\n")
            self._separator = ",\n"
        counts = count_classes(instances.pred_classes)
        for name, count in counts.items():
            self.totals[name] += count
        row = [file_name, *counts.values(), sum(counts.values())]
        self._csv.append(_csv_line(row), self._totals(self.totals))

    def _totals(self, totals):
        counts = [totals.get(name, 0) for name in CLASS_NAMES]
        return _csv_line(["total", *counts, sum(counts)])

    def __enter__(self):
        """Return the writer itself."""
        return self

    def __exit__(self, *error):
        """Close both files."""
        self._json.close()
        self._csv.close()


class _EndedFile:
    """A text file whose ending, never shorter than before, is written anew after each addition."""

    def __init__(self, path, start, end):
        self._file = open(path, "w", encoding="utf-8", newline="")  # noqa: SIM115
        self._position = 0
        self.append(start, end)

    def append(self, text, end):
        self._file.seek(self._position)
        self._file.write(text)
        self._position = self._file.tell()
        self._file.write(end)
        self._file.flush()

    def close(self):
        self._file.close()


def _csv_line(values):
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()


def to_coco_results(instances, image_id, file_name):
    """Detections of one image as COCO results with the file's name, best score first.

    Args:
        instances: Detectron2 ``Instances`` with pred_boxes, pred_classes and scores, on the CPU.

    Returns:
        list of dict.
    """
    boxes = instances.pred_boxes.tensor.double().clone()
    boxes[:, 2:] -= boxes[:, :2]
    return [
        {
            "image_id": image_id,
            "file_name": file_name,
            "category_id": int(instances.pred_classes[i]) + 1,
            "bbox": [round(value, 3) for value in boxes[i].tolist()],
            "score": round(float(instances.scores[i]), 6),
        }
        for i in instances.scores.argsort(descending=True).tolist()
    ]


def keep_confident(instances, thresholds):
    """Detections whose score reaches the threshold of their class.

    Args:
        instances: Detectron2 ``Instances``.
        thresholds: {class name: score in [0, 1]}.
    """
    limits = instances.scores.new_tensor([thresholds[name] for name in CLASS_NAMES])
    return instances[instances.scores >= limits[instances.pred_classes]]


def annotate_images(files, predictor, thresholds, output):
    """Detect cells in images; write a PNG each, ``detections.json`` and ``counts.csv``.

    Args:
        files: Paths of images.
        predictor: BGR uint8 array (H, W, 3) -> ``Instances`` on the CPU.
        thresholds: {class name: score in [0, 1]}, detections below are left out everywhere.
        output: existing folder.

    Returns:
        dict of totals {class name: int}, and the list of files that could not be read.
    """
    broken = []
    with DetectionFiles(output) as results:
        names = picture_names(files)
        for file, name in tqdm(list(zip(files, names, strict=True)), unit="image"):
            try:
                image = read_bgr(file)
            except Exception as error:  # whatever a decoder makes of a damaged file
                tqdm.write(f"Skipped, not a readable image: {file} ({error})")
                broken.append(file)
                continue
            instances = keep_confident(predictor(image), thresholds)
            picture = draw_instances(image, instances, title=file.name)
            write_png(Path(output, name), picture)
            results.add(file, instances)
    return results.totals, broken


def annotate_video(video, predictor, thresholds, output):
    """Detect cells in each frame; write an mp4, ``detections.json`` and ``counts.csv``.

    Frames are read, drawn and written one at a time. Other arguments as ``annotate_images``.

    Args:
        video: Path of the video.

    Returns:
        as annotate_images; totals are sums over frames.
    """
    writer = None
    with Video(video) as frames, DetectionFiles(output) as results:
        try:
            for number, frame in enumerate(tqdm(frames, total=frames.frame_count, unit="frame")):
                instances = keep_confident(predictor(frame), thresholds)
                picture = draw_instances(frame, instances, title=f"frame {number}")
                if writer is None:
                    target = Path(output, f"{video.stem}.mp4")
                    writer = _open_writer(target, frames.frames_per_second, picture)
                writer.write(_even(picture)[:, :, ::-1])
                results.add(f"{video.name}#{number}", instances)
        finally:
            if writer is not None:
                writer.release()
    return results.totals, [] if writer else [video]


def _open_writer(path, frames_per_second, picture):
    height, width = _even(picture).shape[:2]
    codec = cv2.VideoWriter_fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), codec, frames_per_second, (width, height))
    if not writer.isOpened():
        raise OSError(f"OpenCV cannot write the video {path}")
    return writer


def _even(picture):
    """Drop an odd last row or column: the codec stores colour for blocks of 2x2 pixels."""
    return np.ascontiguousarray(picture[: len(picture) // 2 * 2, : picture.shape[1] // 2 * 2])


def draw_instances(image_bgr, instances, title=""):
    """Draw ``Instances`` with class names, scores and the legend; returns RGB uint8."""
    return draw_detections(
        image_bgr[:, :, ::-1],
        instances.pred_boxes.tensor.numpy(),
        instances.pred_classes.numpy(),
        instances.scores.numpy(),
        title=title,
    )


def write_png(path, picture_rgb):
    """Write an RGB array as PNG, in folders created where needed.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".png", np.ascontiguousarray(picture_rgb[:, :, ::-1]))
    path.write_bytes(data.tobytes())
