"""What a detector found in one image, as arrays: PyTorch and Detectron2 are not needed for it."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

DEFAULT_THRESHOLD = 0.5  # score from which a detection counts where no operating point is known

if TYPE_CHECKING:  # counting runs without it
    from detectron2.structures import Instances


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """What was found in one image.

    Attributes:
        image_size: (height, width) in pixels.
        boxes: (P, 4) float32, corners x1, y1, x2, y2 in pixels of the image.
        scores: (P,) float32 in [0, 1].
        classes: (P,) int64, indices of the names of the model's classes.
    """

    image_size: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    @classmethod
    def from_instances(cls, instances: "Instances") -> "Detections":
        """Of Detectron2's ``Instances`` on the CPU, with pred_boxes, scores and pred_classes."""
        return cls(
            tuple(instances.image_size),
            instances.pred_boxes.tensor.numpy(),
            instances.scores.numpy(),
            instances.pred_classes.numpy(),
        )

    def __len__(self) -> int:
        """Number of detections P."""
        return len(self.scores)

    def __getitem__(self, chosen: np.ndarray | slice) -> "Detections":
        """Those that a mask (P,), a slice or an array of indices chooses, in its order."""
        return Detections(
            self.image_size, self.boxes[chosen], self.scores[chosen], self.classes[chosen]
        )

    @property
    def centres(self) -> np.ndarray:
        """(P, 2) x, y of the boxes' centres."""
        return _centres(self.boxes)

    def resized_to(self, size: tuple[int, int]) -> "Detections":
        """In pixels of the image at another ``size`` (height, width), inside of it."""
        factors = [new / old for new, old in zip(size, self.image_size, strict=True)]
        boxes = self.boxes * np.array(factors[::-1] * 2, dtype=np.float32)
        return Detections(size, _clip(boxes, size), self.scores, self.classes)

    def cropped(self, left: int, top: int, size: tuple[int, int]) -> "Detections":
        """Those whose centre lies in a part of the image, in pixels of that part.

        Args:
            left, top: where the part begins.
            size: its (height, width).
        """
        boxes = self.boxes - np.array([left, top] * 2, dtype=np.float32)
        centres = _centres(boxes)
        inside = ((centres > 0) & (centres < size[::-1])).all(axis=1)
        return Detections(
            size, _clip(boxes[inside], size), self.scores[inside], self.classes[inside]
        )


def _centres(boxes):
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _clip(boxes, size):
    return boxes.clip(0, np.array([size[1], size[0]] * 2, dtype=np.float32))
