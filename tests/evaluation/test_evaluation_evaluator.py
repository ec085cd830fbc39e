import csv
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import print_csv_format, verify_results
from detectron2.structures import Boxes, BoxMode, Instances
from detectron2.utils import comm
from evaluation_cases import NAMES, pycocotools_eval

from bccd.engine.launch import launch
from bccd.evaluation.coco import evaluate_boxes
from bccd.evaluation.evaluator import CHOOSE, BCCDEvaluator, evaluate_detections
from bccd.evaluation.inference import inference_on_dataset
from bccd.evaluation.operating_point import choose_operating_points, thresholds

FILES = {
    "coco_instances_results.json",
    "confusion_matrix.csv",
    "confusion_matrix.json",
    "counts.csv",
    "counts_summary.json",
    "evaluation.json",
    "instances_predictions.pth",
    "operating_points.json",
    "per_class.csv",
    "pr_curves.csv",
    "pr_curves.json",
    "timing.json",
}
DATASET = "evaluator_test"
# Class and corners per image; no platelet anywhere, and nothing in the last image.
TRUTH = [
    [(0, (10, 10, 60, 60)), (0, (100, 10, 160, 70)), (1, (200, 100, 340, 240))],
    [(0, (30, 30, 90, 100))],
    [(1, (50, 50, 200, 200)), (0, (300, 300, 360, 350))],
    [],
]


def load():
    return [
        {
            "file_name": f"field_{i}.png",
            "image_id": i,
            "height": 480,
            "width": 640,
            "annotations": [
                {"bbox": list(b), "bbox_mode": BoxMode.XYXY_ABS, "category_id": k, "iscrowd": 0}
                for k, b in boxes
            ],
        }
        for i, boxes in enumerate(TRUTH, start=10)
    ]


@pytest.fixture(autouse=True)
def _dataset():
    register()
    yield
    DatasetCatalog.remove(DATASET)
    MetadataCatalog.remove(DATASET)


def register():
    DatasetCatalog.register(DATASET, load)
    # a JSON file that must not be looked at
    MetadataCatalog.get(DATASET).set(thing_classes=NAMES, json_file="stale.json")


def perfect(batch):
    """Predicts the annotations, each with the score 0.9."""
    outputs = []
    for image in batch:
        boxes = TRUTH[image["image_id"] - 10]
        instances = Instances((image["height"], image["width"]))
        instances.pred_boxes = Boxes(torch.tensor([b for _, b in boxes]).reshape(-1, 4).float())
        instances.pred_classes = torch.tensor([k for k, _ in boxes], dtype=torch.int64)
        instances.scores = torch.full((len(boxes),), 0.9)
        outputs.append({"instances": instances})
    return outputs


def sloppy(batch):
    """Half a box off for red cells; takes white cells for platelets; scores fall by image."""
    outputs = perfect(batch)
    for image, output in zip(batch, outputs, strict=True):
        instances = output["instances"]
        red = instances.pred_classes == 0
        instances.pred_boxes.tensor[red, 0] += 5 * (image["image_id"] - 9)
        instances.pred_classes = torch.where(red, 0, 2)
        instances.scores = instances.scores - 0.1 * (image["image_id"] - 10)
    return outputs


def nothing(batch):
    for output in (outputs := perfect(batch)):
        output["instances"] = output["instances"][:0]
    return outputs


def run(model, output_dir=None, **options):
    evaluator = BCCDEvaluator(DATASET, output_dir, bootstrap_samples=20, **options)
    return evaluator, inference_on_dataset(model, [[image] for image in load()], evaluator)


def read_json(path):
    def refuse(constant):
        raise AssertionError(f"{constant} in {path}")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_perfect_predictions_reach_100_and_count_exactly():
    _, results = run(perfect, operating_points=dict.fromkeys(NAMES, 0.5))
    assert list(results) == ["bbox", "count", "time"]
    for name in ("AP", "AP50", "AP75", "APm", "APl", "AR100", "AP-RBC", "AP-WBC", "AP75-WBC"):
        assert results["bbox"][name] == pytest.approx(100)
    assert results["count"]["exact"] == 1.0
    assert results["count"]["MAE"] == results["count"]["bias-RBC"] == 0.0


def test_ap_in_percent_equals_pycocotools_on_the_same_detections():
    evaluator, results = run(sloppy)
    expected = pycocotools_eval(evaluator.coco_gt, evaluator.detections).stats
    assert 0 < expected[0] < 0.9
    for i, name in enumerate(("AP", "AP50", "AP75")):
        assert results["bbox"][name] == pytest.approx(100 * expected[i], abs=1e-6)
    assert results["bbox"]["AR100"] == pytest.approx(100 * expected[8], abs=1e-6)


def test_counts_by_hand():
    _, results = run(sloppy, operating_points={"RBC": 0.75, "WBC": 0.1, "Platelets": 0.75})
    counts = results["count"]
    # the third image's red cell and white cell score 0.7
    assert (counts["MAE-RBC"], counts["bias-RBC"], counts["exact-RBC"]) == (0.25, -0.25, 0.75)
    assert (counts["MAE-WBC"], counts["bias-WBC"], counts["exact-WBC"]) == (0.5, -0.5, 0.5)
    assert (counts["bias-Platelets"], counts["exact"]) == (0.25, 0.5)


def test_metrics_without_ground_truth_are_absent_and_detectron2_takes_the_rest(caplog):
    _, results = run(perfect)
    assert "APs" not in results["bbox"] and "AP-Platelets" not in results["bbox"]
    print_csv_format(results)
    cfg = get_cfg()
    cfg.TEST.EXPECTED_RESULTS = [["bbox", "AP", 100.0, 0.01], ["count", "MAE-RBC", 0.0, 0.01]]
    assert verify_results(cfg, results)


@pytest.mark.parametrize("model", [perfect, sloppy, nothing])
def test_files_are_complete_and_free_of_nan(model, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run(model, str(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == FILES
    for path in tmp_path.glob("*.json"):
        read_json(path)
    for path in tmp_path.glob("*.csv"):
        rows = list(csv.reader(path.read_text().splitlines()))
        assert len({len(row) for row in rows}) == 1
        assert not any(value in ("nan", "", "None") for row in rows for value in row)
    assert "nan" not in caplog.text.lower()
    assert "n/a" in caplog.text


def test_no_detections_give_zeros(tmp_path):
    _, results = run(nothing, str(tmp_path))
    assert results["bbox"]["AP"] == results["bbox"]["AR100"] == results["bbox"]["AP-RBC"] == 0.0
    assert results["count"]["bias-RBC"] == -1.0
    assert read_json(tmp_path / "coco_instances_results.json") == []
    saved = read_json(tmp_path / "evaluation.json")
    assert saved["bbox"]["AP-Platelets"] is None
    assert saved["intervals"]["bbox"]["AP"] == [0.0, 0.0]


def test_saved_numbers(tmp_path):
    points = {"RBC": 0.75, "WBC": 0.1, "Platelets": 0.75}
    evaluator, results = run(sloppy, str(tmp_path), operating_points=points)
    saved = read_json(tmp_path / "evaluation.json")
    assert saved["operating_points_source"] == "given"
    assert (saved["images"], saved["detections"], saved["max_dets"]) == (4, 6, [1, 10, 100])
    assert saved["detections_beyond_max_dets"] == 0
    assert {k: v for k, v in saved["bbox"].items() if v is not None} == results["bbox"]
    assert saved["count"] == results["count"]
    low, high = saved["intervals"]["bbox"]["AP50"]
    assert low <= results["bbox"]["AP50"] <= high
    assert read_json(tmp_path / "coco_instances_results.json") == evaluator.detections
    assert evaluator.detections[0]["category_id"] == 1
    assert evaluator.detections[0]["bbox"] == [15.0, 10.0, 45.0, 50.0]
    measured = read_json(tmp_path / "operating_points.json")
    assert {name: p["threshold"] for name, p in measured["classes"].items()} == points
    rows = list(csv.DictReader((tmp_path / "counts.csv").read_text().splitlines()))
    assert [row["file_name"] for row in rows] == [f"field_{i}.png" for i in range(10, 14)]
    assert (rows[0]["true_RBC"], rows[0]["predicted_RBC"], rows[0]["predicted_WBC"]) == (
        "2",
        "2",
        "0",
    )
    confusion = read_json(tmp_path / "confusion_matrix.json")
    assert confusion["matrix"][1] == [0, 0, 1, 1]  # one white cell taken for a platelet, one missed


def test_unknown_operating_points_are_one_half_and_said_to_be(tmp_path, caplog):
    run(sloppy, str(tmp_path))
    assert "No operating points are known" in caplog.text
    saved = read_json(tmp_path / "operating_points.json")
    assert saved["source"] == "default 0.5"
    assert {p["threshold"] for p in saved["classes"].values()} == {0.5}


def test_chosen_operating_points_are_the_best_for_these_images_and_said_to_be(tmp_path):
    evaluator, results = run(sloppy, str(tmp_path), operating_points=CHOOSE)
    chosen = choose_operating_points(evaluator.coco_gt, evaluator.detections)
    assert evaluator.chosen_points == chosen
    saved = read_json(tmp_path / "operating_points.json")
    assert saved["source"] == "chosen on these images" and saved["classes"] == chosen
    again = evaluate_detections(
        evaluator.coco_gt, evaluator.detections, thresholds(chosen), bootstrap_samples=0
    )
    assert again.results["count"] == results["count"]


def test_a_missing_operating_point_is_an_error():
    with pytest.raises(ValueError, match="No operating point for WBC, Platelets"):
        BCCDEvaluator(DATASET, operating_points={"RBC": 0.5})


def test_the_images_can_be_restricted():
    evaluator = BCCDEvaluator(DATASET, bootstrap_samples=0)
    evaluator.reset()
    evaluator.process(load(), sloppy(load()))
    results = evaluator.evaluate(img_ids=[10])
    assert results["count"]["MAE-RBC"] == 0.0
    assert {d["image_id"] for d in evaluator.detections} == {10}


def test_an_image_with_more_cells_than_coco_looks_at_is_mentioned(monkeypatch, caplog):
    crowd = [(0, (5 * i, 5 * j, 5 * i + 5, 5 * j + 5)) for i in range(15) for j in range(10)]
    monkeypatch.setitem(globals(), "TRUTH", [crowd])
    _, results = run(perfect)
    assert "150 RBC" in caplog.text
    assert results["bbox"]["AR100"] == pytest.approx(100 * 100 / 150)
    assert results["count"]["exact"] == 1.0


def _evaluate_in_process(args):
    register()
    rank, folder = comm.get_rank(), args.folder
    evaluator = BCCDEvaluator(DATASET, f"{folder}/inference", bootstrap_samples=20)
    loader = [[image] for image in load()[3 * rank :][:3]]  # three images and one
    results = inference_on_dataset(sloppy, loader, evaluator)
    torch.save(results, f"{folder}/results_{rank}.pth")


def test_two_processes_give_the_results_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    processes = {"num_gpus": 2, "num_machines": 1, "machine_rank": 0}
    url = f"file://{tmp_path}/store"
    launch(_evaluate_in_process, SimpleNamespace(**processes, dist_url=url, folder=str(tmp_path)))
    _, expected = run(sloppy)
    together = torch.load(tmp_path / "results_0.pth", weights_only=False)
    assert torch.load(tmp_path / "results_1.pth", weights_only=False) == {}
    assert (together["bbox"], together["count"]) == (expected["bbox"], expected["count"])
    assert read_json(tmp_path / "inference" / "timing.json")["images_timed"] == 4


def test_real_ground_truth_shifted_by_noise_equals_pycocotools(bccd_root):
    coco_gt = BCCDEvaluator("bccd_paper_test").coco_gt
    rng = np.random.default_rng(0)
    found = [
        {
            "image_id": a["image_id"],
            "category_id": a["category_id"],
            "bbox": [float(v) for v in np.asarray(a["bbox"]) + rng.normal(0, 6, 4)],
            "score": float(rng.random()),
        }
        for a in coco_gt["annotations"]
        for _ in range(3)
    ]
    metrics = evaluate_boxes(coco_gt, found).metrics
    expected = pycocotools_eval(coco_gt, found).stats
    assert len(coco_gt["images"]) == 34
    assert [-1 if v is None else v for v in metrics.values()] == pytest.approx(expected, abs=1e-6)
