"""A predictor without a model. Not a test itself."""

import numpy as np

from bccd.detections import Detections


class FakePredictor:
    """One RBC (0.9), one RBC (0.3), one WBC (0.6), one platelet (0.2); remembers the images."""

    class_names = ("RBC", "WBC", "Platelets")
    class_colors = ((200, 70, 0), (0, 68, 136), (0, 200, 150))
    identity, field_size, max_detections = "fake", (), None
    counting_thresholds = count_intervals = magnification = None

    def __init__(self, operating_points=None):
        self.operating_points = operating_points
        self.images = []

    def prepare(self, image):
        return image

    def detect(self, image):
        self.images.append(image)
        height, width = image.shape[:2]
        boxes = [(0.1, 0.1, 0.4, 0.5), (0.5, 0.1, 0.8, 0.4), (0.5, 0.5, 0.9, 0.9)]
        boxes = np.array([*boxes, (0.1, 0.8, 0.2, 0.9)], np.float32)
        boxes *= np.array([width, height, width, height], np.float32)
        scores = np.array([0.3, 0.9, 0.6, 0.2], np.float32)
        return Detections((height, width), boxes, scores, np.array([0, 0, 1, 2]))
