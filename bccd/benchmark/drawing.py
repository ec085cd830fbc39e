"""What a picture of counted cells costs, against Detectron2's own Visualizer."""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, Instances
from detectron2.utils.visualizer import Visualizer

from bccd.benchmark.timing import in_turn
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.synthetic import draw_smear
from bccd.visualization.drawing import draw_detections
from bccd.visualization.png import write_png

CROWD = 400  # boxes; a crowded field may have so many


class Field(NamedTuple):
    """An image (H, W, 3), RGB, and its P cells."""

    image: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def draw_fields(kind: str, count: int, size: tuple[int, int]) -> Iterator[Field]:
    """Synthetic smears of (height, width) ``size``, all different.

    Args:
        kind: "smear", with its own cells, or "crowd", with ``CROWD`` small boxes anywhere.
    """
    for seed in range(count):
        rng = np.random.default_rng(seed)
        image, boxes, classes = draw_smear(seed, *size)
        if kind == "crowd":
            sides = np.array(size[::-1])
            corners = rng.uniform(0, 0.93, (CROWD, 2)) * sides
            boxes = np.concatenate((corners, corners + rng.uniform(0.02, 0.09, 2) * sides), axis=1)
            classes = rng.integers(0, len(CLASS_NAMES), CROWD)
        rgb = np.ascontiguousarray(image[:, :, ::-1])
        yield Field(rgb, boxes, classes, rng.uniform(0.4, 1, len(boxes)))


def measure_drawing(rounds: int, size: tuple[int, int]) -> list[dict]:
    """Processor time of drawing and writing ``rounds`` fields of each kind, on one thread.

    Other programs disturb the processor's time less than the clock's.

    Returns:
        list of dict, one for each kind of field: ``field``, ``cells`` of an image, ``draw_ms`` and
        ``write_ms`` (each as :func:`bccd.benchmark.timing.quartiles`), ``pictures_per_second`` of
        both together, ``kilobytes`` of a file, ``detectron2_ms`` for drawing with Detectron2's
        Visualizer as large, in turn, and ``speedup``, the ratio of that to ``draw_ms``.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with TemporaryDirectory() as folder:
            path = Path(folder, "picture.png")
            return [_measure(kind, rounds, size, path) for kind in ("smear", "crowd")]
    finally:
        cv2.setNumThreads(threads)


def _measure(kind, rounds, size, path):
    fields = list(draw_fields(kind, rounds, size))
    _draw(fields[0])  # loads the font
    pictures = [_draw(field) for field in fields]
    rows = [
        [partial(_draw_by_detectron2, field), partial(_draw, field), partial(write_png, path, each)]
        for field, each in zip(fields, pictures, strict=True)
    ]
    (detectron2, _), (draw, speedup), (write, _) = in_turn(rows, _processor_ms)
    sizes = []
    for picture in pictures:
        write_png(path, picture)
        sizes.append(path.stat().st_size)
    return {
        "field": kind,
        "cells": float(np.mean([len(field.boxes) for field in fields])),
        "draw_ms": draw,
        "write_ms": write,
        "pictures_per_second": 1000 / (draw["median"] + write["median"]),
        "kilobytes": float(np.mean(sizes)) / 1000,
        "detectron2_ms": detectron2,
        "speedup": speedup,
    }


def _processor_ms(function):
    start = time.process_time()
    function()
    return 1e3 * (time.process_time() - start)


def _draw(field):
    return draw_detections(*field, class_names=CLASS_NAMES, title="smear.png")


def _draw_by_detectron2(field):
    """Detectron2's picture, twice as large as the image, as ours of a 640x480 field."""
    instances = Instances(
        field.image.shape[:2],
        pred_boxes=Boxes(torch.as_tensor(field.boxes, dtype=torch.float32)),
        pred_classes=torch.as_tensor(field.classes),
        scores=torch.as_tensor(field.scores),
    )
    visualizer = Visualizer(field.image, Metadata(thing_classes=list(CLASS_NAMES)), scale=2)
    return visualizer.draw_instance_predictions(instances).get_image()
