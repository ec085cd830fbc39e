"""Labels of a data set completed by a second annotation and by a detector's own detections.

BCCD marks about 6 of 10 of its red cells. A detector that is trained on these marks learns that the
other four are background; self-training adds the cells that a detector finds and nobody marked.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from bccd.counting.tiles import overlap_of
from bccd.data.record_boxes import boxes_and_classes

# A detection that overlaps a mark by more than this share of the smaller box is that cell, however
# its box was drawn: a white cell is marked with or without its plasma.
SAME_CELL = 0.5


@dataclasses.dataclass(frozen=True)
class Completed:
    """Records with completed annotations.

    Attributes:
        records: in Detectron2's format.
        second: number of images that have the second annotation in place of the first.
        added: number of detections added to the other images, by class id.
        agreement: of detections added to images that have a second annotation, which were not used:
            (number, how many of them the second annotation marks, too).
    """

    records: list[dict]
    second: int
    added: dict[int, int]
    agreement: tuple[int, int]


def complete_labels(
    records: Sequence[dict],
    second: Sequence[dict],
    detect: Callable[[str], tuple[np.ndarray, np.ndarray]],
) -> Completed:
    """Complete the annotations of a data set.

    Args:
        records: in Detectron2's format, boxes as XYXY; left unchanged.
        second: records of a second annotation of some of the images, by ``image_id``.
        detect: file name to boxes (P, 4) XYXY in pixels and classes (P,) of confident detections.
    """
    by_id = {record["image_id"]: record for record in second}
    completed, added, agreement = [], {}, np.zeros(2, dtype=int)
    for record in records:
        boxes, classes = detect(record["file_name"])
        new = ~is_marked(boxes, boxes_and_classes(record)[0])
        if better := by_id.get(record["image_id"]):
            marked = is_marked(boxes[new], boxes_and_classes(better)[0])
            agreement += len(marked), int(marked.sum())
            completed.append({**record, "annotations": better["annotations"]})
            continue
        cells = zip(boxes[new].tolist(), classes[new].tolist(), strict=True)
        own = [{"bbox": b, "bbox_mode": 0, "category_id": c, "iscrowd": 0} for b, c in cells]
        for annotation in own:
            added[annotation["category_id"]] = added.get(annotation["category_id"], 0) + 1
        completed.append({**record, "annotations": [*record["annotations"], *own]})
    return Completed(completed, len(by_id), added, tuple(agreement.tolist()))


def is_marked(boxes: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Which of ``boxes`` (P, 4) show a cell of ``marks`` (M, 4), XYXY: (P,) bool."""
    common, _ = overlap_of(boxes[:, None], marks)
    areas = [(each[:, 2:] - each[:, :2]).prod(axis=1) for each in (boxes, marks)]
    return (common > SAME_CELL * np.minimum(areas[0][:, None], areas[1])).any(axis=1)
