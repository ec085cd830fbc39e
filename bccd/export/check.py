"""Does an exported detector detect what the detector it was made of detects?"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from bccd.export.detector import ExportableDetector

TOLERANCE = 1e-3
# Of box corners, relative to the image's longer side: about a hundred times fp32's precision.
BOX_TOLERANCE = 1e-5


def check_images(resize: Callable[[np.ndarray], np.ndarray], count: int = 4) -> list[np.ndarray]:
    """Synthetic smears of different shapes, resized as for testing.

    Args:
        resize: uint8 array (H, W, 3) -> uint8 array, as the config tests.

    Returns:
        uint8 arrays (H, W, 3).
    """
    from bccd.data.synthetic import draw_smear

    sizes = ((480, 640), (640, 480), (480, 480), (384, 640))
    return [resize(draw_smear(seed, *sizes[seed % len(sizes)])[0]) for seed in range(count)]


def find_differences(
    detector: ExportableDetector,
    runtime: Callable[[np.ndarray], Sequence[np.ndarray]],
    images: Sequence[np.ndarray],
    tolerance: float = TOLERANCE,
) -> list[str]:
    """Compare an exported file with the eager model, image by image and in batches of two.

    Args:
        detector: its ``model`` is the eager one.
        runtime: see ``runtime.OnnxRuntime``.
        images: uint8 arrays (H, W, 3), resized as for testing.
        tolerance: allowed difference of scores, and of box corners in pixels; of these at
            least BOX_TOLERANCE of the image's longer side.

    Returns:
        empty where all detections agree.
    """
    found = []
    for number, image in enumerate(images):
        expected = _eager(detector, image)
        box_tolerance = max(tolerance, BOX_TOLERANCE * max(image.shape))
        for batch in (image[None], np.stack([image, image[::-1]])):
            actual = _only_detections([x[0] for x in runtime(np.ascontiguousarray(batch))])
            lowest = _lowest_certain(detector, expected, actual, tolerance)
            for difference in compare_detections(
                expected, actual, tolerance, box_tolerance, lowest
            ):
                found.append(f"image {number}, batch of {len(batch)}: {difference}")
    return found


def compare_detections(
    expected: Sequence[np.ndarray],
    actual: Sequence[np.ndarray],
    tolerance: float,
    box_tolerance: float,
    lowest: float = 0.0,
) -> list[str]:
    """Match each detection with one of the other list that has its class, score and box.

    Args:
        expected, actual: (boxes (M, 4), scores (M,), classes (M,)) arrays.
        tolerance, box_tolerance: allowed difference of scores, and of box corners.
        lowest: detections below may be missing on either side.

    Returns:
        what is in one list alone.
    """
    boxes, scores, classes = (x[:, None] for x in expected)
    same = (
        (classes == actual[2])
        & (abs(scores - actual[1]) <= tolerance)
        & (abs(boxes - actual[0]).max(-1, initial=0) <= box_tolerance)
    )
    differences = []
    for name, (its_boxes, its_scores, its_classes), matched in (
        ("eager", expected, same.any(1)),
        ("exported", actual, same.any(0)),
    ):
        for i in np.flatnonzero(~matched & (its_scores >= lowest)):
            box = ", ".join(f"{value:.3f}" for value in its_boxes[i])
            differences.append(
                f"only the {name} model has class {its_classes[i]}, score {its_scores[i]:.5f}, "
                f"box ({box})"
            )
    return differences


def _eager(detector, image):
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    with torch.no_grad():
        found = detector.model([{"image": tensor}])[0]["instances"]
    return [x.numpy() for x in (found.pred_boxes.tensor, found.scores, found.pred_classes)]


def _only_detections(outputs):
    boxes, scores, classes = outputs
    return [x[scores >= 0] for x in (boxes, scores, classes)]


def _lowest_certain(detector, expected, actual, tolerance):
    """Score from which rounding cannot decide whether a detection is given."""
    full = max(len(expected[1]), len(actual[1])) >= detector.max_detections
    scores = [*expected[1], *actual[1]]
    return (min(scores) if full else detector.score_threshold) + tolerance
