"""A detector without a model that is never wrong at the right scale. Not a test itself."""

import cv2
import numpy as np
from fake_predictor import FakePredictor

from bccd.detections import Detections
from bccd.export.magnification import Magnification

KNOWN = 60.0  # pixels of a red cell as the detector sees it
USUAL = 90.0


class DiscDetector(FakePredictor):
    """Finds dark discs; the score falls with the distance of their size from the known one."""

    magnification = Magnification(
        red_cell=0, usual=USUAL, known=KNOWN, field_pixels=320 * 427, fields_at_once=1.25
    )
    counting_thresholds = {"RBC": 0.3, "WBC": 0.3, "Platelets": 0.3}
    count_intervals = None
    limit = 100

    def detection_limit(self, height, width):
        return self.limit

    def detect_resized(self, image):
        self.images.append(image.shape[:2])
        _, _, stats, _ = cv2.connectedComponentsWithStats((image[..., 0] < 128).astype(np.uint8))
        found = []
        for x, y, width, height, _ in stats[1:].tolist():
            side = (width * height) ** 0.5
            score = 0.95 - abs(np.log2(side / KNOWN)) / 1.2
            if score > 0.05:
                found.append((x, y, x + width, y + height, score))
        found = np.array(found, np.float32).reshape(-1, 5)[: self.limit]
        classes = np.zeros(len(found), dtype=int)
        return Detections(image.shape[:2], found[:, :4], found[:, 4], classes)


def draw_field(rows, columns, diameter, pitch=1.4):
    """White image with a grid of dark discs."""
    step = round(diameter * pitch)
    image = np.full((rows * step, columns * step, 3), 255, np.uint8)
    for row in range(rows):
        for column in range(columns):
            centre = (column * step + step // 2, row * step + step // 2)
            cv2.circle(image, centre, round(diameter / 2), (40, 60, 50), -1)
    return image
