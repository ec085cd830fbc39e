import dataclasses

import numpy as np
from fake_predictor import FakePredictor

from bccd.counting.looking import GROUND, Looking, without_duplicates
from bccd.detections import Detections
from bccd.export.magnification import Magnification

FIELD = Magnification(0, usual=100, known=60, field_pixels=300 * 300, fields_at_once=9.0)


def detections(boxes, classes, scores):
    boxes = np.array(boxes, np.float32)
    return Detections((100, 100), boxes, np.array(scores, np.float32), np.array(classes))


def test_one_of_two_boxes_of_a_cell_stays():
    one, same, other = (10, 10, 50, 50), (12, 12, 52, 52), (30, 10, 70, 50)
    found = detections([same, one, other, one], [0, 0, 0, 1], [0.5, 0.9, 0.7, 0.6])
    kept = without_duplicates(found)
    assert kept.scores.tolist() == np.float32([0.9, 0.7, 0.6]).tolist()
    np.testing.assert_array_equal(kept.boxes, [one, other, one])
    assert len(without_duplicates(found[:0])) == 0


class Watching(FakePredictor):
    """Finds a cell in the image and one on the ground below it."""

    def __init__(self, has_fixed_number):
        super().__init__()
        self.magnification = dataclasses.replace(FIELD, has_fixed_number=has_fixed_number)

    def detect_resized(self, image):
        self.images.append(image)
        boxes = np.array([(5, 5, 25, 25), (5, 95, 25, 115)], np.float32)
        return Detections(image.shape[:2], boxes, np.float32([0.9, 0.8]), np.array([0, 0]))

    def detection_limit(self, height, width):
        return 2


def test_a_fixed_number_of_proposals_sees_a_small_image_on_empty_ground():
    predictor = Watching(True)
    image = np.full((100, 320, 3), 7, np.uint8)
    found, is_full = Looking(predictor, 0.5).look(image)
    (seen,) = predictor.images
    assert seen.shape == (300, 320, 3) and (seen[100:] == GROUND).all() and (seen[:100] == 7).all()
    assert found.image_size == (100, 320) and found.boxes.tolist() == [[5, 5, 25, 25]]
    assert is_full and not Looking(predictor, 0.85).look(image)[1]


def test_other_detectors_and_usual_images_are_looked_at_as_they_are():
    for has_fixed_number, size in ((False, (100, 320)), (True, (290, 300))):
        predictor = Watching(has_fixed_number)
        Looking(predictor, 0.5)(np.zeros((*size, 3), np.uint8))
        assert predictor.images[0].shape[:2] == size
