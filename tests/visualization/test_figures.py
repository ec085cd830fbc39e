import json

import numpy as np
import pytest
from detectron2.structures import BoxMode

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.formats.coco import to_coco
from bccd.evaluation.coco import match_boxes
from bccd.evaluation.operating_point import keep_above
from bccd.evaluation.stored import Results
from bccd.visualization import curves, dataset, results

THRESHOLDS = {"RBC": 0.5, "WBC": 0.6, "Platelets": 0.4}


def make_records(count=5, seed=0):
    rng = np.random.default_rng(seed)
    records = []
    for image_id in range(1, count + 1):
        corners = rng.uniform(0, 200, (rng.integers(1, 9), 2))
        boxes = np.concatenate((corners, corners + rng.uniform(20, 60, corners.shape)), axis=1)
        annotations = [
            {
                "bbox": box.tolist(),
                "bbox_mode": BoxMode.XYXY_ABS,
                "category_id": int(rng.integers(3)),
                "iscrowd": 0,
            }
            for box in boxes
        ]
        name = f"field_{image_id}.png"
        size = {"height": 260, "width": 260}
        records.append(
            {"file_name": name, "image_id": image_id, **size, "annotations": annotations}
        )
    return records


def make_results(seed=0):
    """Noisy copies of the ground truth and some boxes where nothing is."""
    records, rng = make_records(seed=seed), np.random.default_rng(seed + 1)
    truth = to_coco(records, CLASS_NAMES)
    detections = []
    for annotation in truth["annotations"] * 2:
        detection = {key: annotation[key] for key in ("image_id", "category_id")}
        box = np.array(annotation["bbox"]) + rng.normal(0, 4, 4)
        detections.append({**detection, "bbox": box.tolist(), "score": float(rng.uniform(0, 1))})
    return Results(records, truth, detections, THRESHOLDS, 0.5)


@pytest.mark.parametrize("seed", range(5))
def test_comparison_matches_as_the_evaluation_does(seed):
    given = make_results(seed)
    kept = keep_above(given.truth, given.detections, THRESHOLDS)
    expected = np.zeros((len(given.records), 2), dtype=int)
    for match in match_boxes(given.truth, kept, 0.5):
        np.add.at(expected, (match.image, 0), match.correct[0])
        np.add.at(expected, (match.image, 1), match.wrong[0])
    comparisons = results.compare_images(given)
    assert len(comparisons) == len(given.records)
    for comparison in comparisons:
        correct, wrong = expected[comparison.record["image_id"] - 1]
        assert comparison.correct.sum() == comparison.found.sum() == correct
        assert (~comparison.correct).sum() == wrong
        total = len(comparison.found) + len(comparison.correct)
        assert comparison.f1 == pytest.approx(2 * correct / total)
    f1 = [comparison.f1 for comparison in comparisons]
    assert f1 == sorted(f1, reverse=True)


def test_nothing_annotated_and_nothing_found_is_right():
    record = {**make_records(1)[0], "annotations": []}
    empty = Results([record], to_coco([record], CLASS_NAMES), [], THRESHOLDS, 0.5)
    assert results.compare_images(empty)[0].f1 == 1.0


def test_chosen_images_go_from_best_to_worst():
    assert results.choose_images(list(range(34)), 4) == [0, 11, 22, 33]
    assert results.choose_images(list(range(3)), 8) == [0, 1, 2]


def test_class_histogram_shows_the_counts():
    records = make_records()
    figure = dataset.class_histogram({"train": records, "val": records[:2]}, CLASS_NAMES)
    axis = figure.axes[0]
    heights = [bar.get_height() for bar in axis.patches]
    for part, offset in ((records, 0), (records[:2], 3)):
        classes = [a["category_id"] for record in part for a in record["annotations"]]
        assert heights[offset : offset + 3] == np.bincount(classes, minlength=3).tolist()
    assert [text.get_text() for text in axis.texts] == [str(int(height)) for height in heights]


def test_box_size_histogram_counts_every_box():
    records = make_records()
    figure = dataset.box_size_histogram(records, CLASS_NAMES)
    total = sum(bar.get_height() for axis in figure.axes for bar in axis.patches)
    assert total == sum(len(record["annotations"]) for record in records)


def test_field_with_all_classes_is_chosen():
    def record(image_id, classes):
        box = {"bbox": [0, 0, 5, 5], "bbox_mode": BoxMode.XYXY_ABS}
        annotations = [{**box, "category_id": k} for k in classes]
        return {"image_id": image_id, "annotations": annotations}

    records = [record(1, [0] * 30), record(2, [0, 1, 2]), record(3, [0, 1, 2, 0]), record(4, [])]
    assert dataset.choose_field(records, 3)["image_id"] == 3
    assert dataset.choose_field([records[3], record(5, [])], 3)["image_id"] == 4


def test_score_histogram_counts_detections_on_both_sides():
    given = make_results()
    figure = results.score_histograms(given)
    for axis, match in zip(
        figure.axes, match_boxes(given.truth, given.detections, 0.5), strict=True
    ):
        heights = np.array([bar.get_height() for bar in axis.patches])
        assert heights[heights > 0].sum() == match.correct.sum()
        assert -heights[heights < 0].sum() == match.wrong.sum()


def test_figures_without_any_detection():
    given = make_results()
    empty = Results(given.records, given.truth, [], THRESHOLDS, 0.5)
    results.score_histograms(empty).canvas.draw()
    results.count_scatter(empty).canvas.draw()
    curves.precision_recall_curves(empty).canvas.draw()


def test_metrics_of_a_resumed_and_cut_run(tmp_path):
    lines = [
        {"iteration": 19, "total_loss": 3.0, "lr": 0.1},
        {"iteration": 39, "total_loss": 2.0, "bbox/AP": float("nan")},
        {"iteration": 39, "total_loss": 1.5, "bbox/AP": 10.0},
    ]
    path = tmp_path / "metrics.json"
    path.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"iteration": 59, "total')
    metrics = curves.read_metrics(path)
    assert metrics["total_loss"][0].tolist() == [19, 39]
    assert metrics["total_loss"][1].tolist() == [3.0, 1.5]
    figure = curves.training_curves(metrics, CLASS_NAMES)
    assert [len(axis.lines) for axis in figure.axes] == [1, 1, 1]
    assert [len(axis.lines) for axis in curves.training_curves({}, CLASS_NAMES).axes] == [0, 0, 0]
