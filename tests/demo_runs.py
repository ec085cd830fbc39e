"""Runs of demo.py with a predictor without a model. Not a test itself."""

import json

import cv2
import numpy as np
import pytest
from fake_predictor import FakePredictor

import demo
from bccd.counting.count_table import read_table


def write_image(path, height=48, width=64, color=(200, 180, 220)):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), color, dtype=np.uint8))
    return path


def run(*args, predictor=None):
    return demo.main([str(arg) for arg in args], predictor or FakePredictor())


def rows(folder):
    """Rows of counts.csv as lists, without the header."""
    return [list(row.values()) for row in read_table(folder / "counts.csv")]


def names(folder):
    return [row[0] for row in rows(folder)[:-1]]


def annotations(folder):
    return json.loads((folder / "detections.json").read_text())["annotations"]


def exit_status(*args):
    with pytest.raises(SystemExit) as stop:
        run(*args)
    return stop.value.code


def three_images(tmp_path):
    return [write_image(tmp_path / f"in/{name}.png", 40 + i) for i, name in enumerate("abc")]


class Crash(FakePredictor):
    def detect(self, image):
        if len(self.images) == 2:
            raise RuntimeError("out of memory")
        return super().detect(image)
