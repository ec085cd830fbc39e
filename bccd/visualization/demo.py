"""Annotated copies of images and videos, with their detections and counts as files."""

from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from bccd.config import CLASS_NAMES
from bccd.data.ahead import map_ahead
from bccd.data.inputs import Video, read_bgr
from bccd.visualization.detection_files import DetectionFiles, to_coco_results
from bccd.visualization.drawing import draw_detections
from bccd.visualization.progress import version

AHEAD = 4  # images read, and as many drawn, while the model works on one


def keep_confident(instances, thresholds):
    """Detections whose score reaches the threshold of their class.

    Args:
        instances: Detectron2 ``Instances``.
        thresholds: {class name: score in [0, 1]}.
    """
    limits = instances.scores.new_tensor([thresholds[name] for name in CLASS_NAMES])
    return instances[instances.scores >= limits[instances.pred_classes]]


def annotate_images(tasks, predictor, thresholds, output, part):
    """Detect cells in images and note each that is finished; write its PNG where one is wanted.

    The next images are read and resized, and the last ones drawn, while the model works. No more
    than a few images are in memory, however many there are.

    Args:
        tasks: list of ``progress.Task``.
        predictor: BGR uint8 array (H, W, 3) -> ``Instances`` on the CPU. Where it has ``prepare``
            and ``detect`` (see ``Predictor``), the first runs ahead of the second.
        thresholds: {class name: score in [0, 1]}, detections below are left out everywhere.
        output: existing folder.
        part: ``progress.Part``. An image that cannot be read is noted there, too.
    """
    prepare = getattr(predictor, "prepare", lambda image: image)
    detect = getattr(predictor, "detect", predictor)

    def read(task):
        seen = version(task.file)
        try:
            image = read_bgr(task.file)
        except Exception as error:  # whatever a decoder makes of a damaged file
            tqdm.write(f"Skipped, not a readable image: {task.file} ({error})")
            part.fail(task, seen, error)
            return None
        return task, seen, image, prepare(image)

    def finish(found):
        task, seen, image, instances = found
        if task.picture is not None:
            picture = draw_instances(image, instances, title=task.file.name)
            write_png(Path(output, task.picture), picture)
        part.finish(task, seen, to_coco_results(instances))

    ready = (images for images in map_ahead(read, tasks, AHEAD) if images is not None)
    found = (
        (task, seen, image, keep_confident(detect(inputs), thresholds))
        for task, seen, image, inputs in ready
    )
    for _ in tqdm(map_ahead(finish, found, AHEAD), total=len(tasks), unit="image"):
        pass


def annotate_video(video, predictor, thresholds, output, pictures=True):
    """Detect cells in each frame; write ``detections.json``, ``counts.csv`` and an mp4.

    Frames are read, drawn and written one at a time. Other arguments as ``annotate_images``.

    Args:
        video: Path of the video.
        pictures: write the mp4.

    Returns:
        dict of totals {class name: int}, sums over frames, and the list of unreadable files.
    """
    writer = None
    with Video(video) as frames, DetectionFiles(output) as results:
        try:
            for number, frame in enumerate(tqdm(frames, total=frames.frame_count, unit="frame")):
                instances = keep_confident(predictor(frame), thresholds)
                if pictures:
                    picture = draw_instances(frame, instances, title=f"frame {number}")
                    if writer is None:
                        target = Path(output, f"{video.stem}.mp4")
                        writer = _open_writer(target, frames.frames_per_second, picture)
                    writer.write(_even(picture)[:, :, ::-1])
                results.add(f"{video.name}#{number}", to_coco_results(instances))
        finally:
            if writer is not None:
                writer.release()
    return results.totals, [] if results.image_count else [video]


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
