import cv2
import numpy as np
import pytest
from detectron2.structures import BoxMode
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.formats.coco import to_coco
from bccd.evaluation.stored import Results
from bccd.visualization import errors
from bccd.visualization.results import compare_images

THRESHOLDS = {"RBC": 0.5, "WBC": 0.5, "Platelets": 0.5}
# class, x, y of boxes of 100x100 pixels
CELLS = [(0, 0, 0), (0, 300, 0), (1, 0, 300), (0, 300, 300)]
DETECTIONS = [
    (0, 0, 0, errors.CORRECT),
    (0, 10, 0, errors.DUPLICATE),
    (0, 350, 0, errors.BADLY_PLACED),
    (0, 0, 300, errors.WRONG_CLASS),
    (2, 500, 0, errors.NOT_ANNOTATED),
    (0, 500, 300, errors.UNLABELLED),
]


def annotate(image_id, path, cells):
    box = {"bbox_mode": BoxMode.XYXY_ABS, "iscrowd": 0}
    annotations = [{**box, "bbox": [x, y, x + 100, y + 100], "category_id": k} for k, x, y in cells]
    size = {"height": 480, "width": 640}
    return {"file_name": str(path), "image_id": image_id, **size, "annotations": annotations}


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "field.png"
    cv2.imwrite(str(path), np.full((480, 640, 3), 200, dtype=np.uint8))
    return [annotate(1, path, CELLS), annotate(2, path, [])]


@pytest.fixture
def second(records):
    return [annotate(1, records[0]["file_name"], [*CELLS, (0, 500, 300)])]


def compare(records, second):
    detections = [
        {"image_id": 1, "category_id": k + 1, "bbox": [x, y, 100, 100], "score": 0.9 - i / 100}
        for i, (k, x, y, _) in enumerate(DETECTIONS)
    ]
    truth = to_coco(records, CLASS_NAMES)
    return compare_images(Results(records, truth, detections, THRESHOLDS, 0.5), second)


def colors(axis):
    """Colours of the boxes and the texts on them."""
    boxes = [patch for patch in axis.patches if isinstance(patch, Rectangle)]
    return sorted(to_hex(box.get_edgecolor()) for box in boxes), [t.get_text() for t in axis.texts]


def title(axis):
    return " ".join(axis.get_title().split())  # whatever the lines and spaces are made of


def test_verdicts_on_both_sides(records, second):
    empty, full = compare(records, second)
    assert errors.judge_detections(full) == [verdict for *_, verdict in DETECTIONS]
    assert errors.judge_cells(full) == [
        errors.CORRECT,
        errors.BADLY_PLACED,
        errors.WRONG_CLASS,
        errors.MISSED,
    ]
    assert errors.judge_cells(empty) == errors.judge_detections(empty) == []


def test_without_a_second_annotation_the_cell_is_not_annotated(records):
    _, full = compare(records, None)
    assert errors.judge_detections(full)[-1] == errors.NOT_ANNOTATED


def test_each_box_has_the_colour_of_its_verdict_and_each_wrong_one_a_text(records, second):
    figure = errors.error_figure(compare(records, second), 0.5)
    figure.canvas.draw()
    left, right = figure.axes[2:]
    assert title(left) == "field: 4 annotated, 1 missed, 1 badly placed, 1 wrong class"
    boxes, texts = colors(right)
    assert boxes == sorted(errors.COLORS[verdict] for *_, verdict in DETECTIONS)
    assert texts == [
        "RBC 89%",
        "RBC 88%, IoU 0.33",
        "RBC 87%",
        "Platelets 86%",
        "RBC 85%",
    ]
    assert title(right).startswith("F1 0.20: 6 detected")
    assert "has no second annotation" in title(figure.axes[1])


def test_the_legend_names_the_second_annotation_only_where_it_was_asked(records, second):
    for asked in (second, None):
        legend = errors.error_figure(compare(records, asked), 0.5).legends[0]
        labels = [text.get_text() for text in legend.get_texts()]
        assert (errors.UNLABELLED in labels) == (asked is not None)
