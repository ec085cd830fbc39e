"""Studies of drawn fields, counted by a detector without a model. Not a test itself."""

import cv2
import numpy as np
from disc_detector import DiscDetector, draw_field

from bccd.counting.counter import CellCounter
from bccd.study import Study, counting_job
from bccd.study.settings import ModelFacts, write_model
from bccd.study.worker import work

INTERVALS = {
    "thresholds": [0.3] * 3,
    "slope": [1.0] * 3,
    "offset": [0.0] * 3,
    "missed": [0.001] * 3,
    "unforeseen": [0.0] * 3,
    "too_few": [0.05] * 3,
    "too_many": [0.05] * 3,
    "width": [2.0] * 3,
}


class Detector(DiscDetector):
    """Finds discs; their scores fall from left to right, so that thresholds part them."""

    count_intervals = INTERVALS
    shift = 0.0  # pixels by which boxes lie to the right

    def detect_resized(self, image):
        found = super().detect_resized(image)
        share = found.boxes[:, 0] / image.shape[1]
        found.scores[:] = (0.95 - 0.3 * share).astype(np.float32)
        found.boxes[:, [0, 2]] += self.shift
        return found


def use_detector(monkeypatch, detector=None):
    """Let studies count with a detector; gives it."""
    detector = detector or Detector()

    def load_counter(study, settings):
        counter = CellCounter.of(detector, border=settings.border)
        thresholds = tuple(counter.thresholds.values())
        facts = ModelFacts(
            counter.class_names,
            counter.class_colors,
            thresholds,
            counter.intervals and counter.intervals.to_dict(),
            "discs",
        )
        with study.database.write() as connection:
            write_model(connection, settings.model, facts=facts)
        return counter

    monkeypatch.setattr(counting_job, "load_counter", load_counter)
    return detector


def draw(folder, number=1, rows=3, columns=4, diameter=90):
    """Write images of fields with discs; gives their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"field {i}.png" for i in range(number)]
    for path in paths:
        cv2.imwrite(str(path), draw_field(rows, columns, diameter))
    return paths


def new_study(folder, number=1, **options):
    """A study with drawn fields, not counted."""
    study = Study.open(folder / "study", create=True, **options)
    study.allow_folder(folder)
    study.add(draw(folder / "fields", number), "Lan")
    return study


def count(study, field_ids=None):
    """Count at once, in this process."""
    study.count("Lan", field_ids)
    work(study, until_idle=True)
