"""Cross-validations as files, from evaluations as train_net.py leaves them."""

import json
import runpy

import pytest

from bccd.experiments.checkout import ROOT
from bccd.experiments.cross_validation import pool_folds, read_cross_validation

pool = runpy.run_path(str(ROOT / "tools/pool_folds.py"))["main"]
POINTS = {name: {"threshold": 0.25} for name in ("RBC", "WBC", "Platelets")}


def evaluate(folder, dataset, detections, points=POINTS):
    """What an evaluation writes that a cross-validation is made of."""
    files = {
        "evaluation.json": {"dataset": dataset},
        "timing.json": {"machine": {"device": "a CPU"}},
        "operating_points.json": {"classes": points},
        "coco_instances_results.json": detections,
    }
    (folder / "inference").mkdir(parents=True)
    for name, content in files.items():
        (folder / "inference" / name).write_text(json.dumps(content))
    return folder


def detection(image_id, score, category_id=1):
    box = [10.0 + image_id, 20.0, 30.0, 40.06]
    return {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score}


@pytest.fixture
def evaluated(tmp_path):
    found = [detection(7, 0.25, 2), detection(3, 0.5), detection(7, 0.123456789)]
    one = evaluate(tmp_path / "fold1", "bccd_fold1_test", found)
    (one / "metrics.json").write_text(
        '{"iteration": 9, "total_loss": 1.0, "time": 0.5}\n{"iteration": 9, "bbox/AP": 60.0}\n'
    )
    return [one, evaluate(tmp_path / "fold2", "bccd_fold2_test", [detection(4, 1.0)])]


def test_what_is_written_is_read_back_to_a_tenth_of_a_pixel(evaluated, tmp_path, capsys):
    flags = ["--row", "a", "--name", "A", "--note", "short", "--results", str(tmp_path)]
    assert pool(["--from", *map(str, evaluated), *flags]) == 0
    kept = read_cross_validation(tmp_path / "folds/a.json.gz")
    assert (kept.name, kept.class_names) == ("A (short)", list(POINTS))
    assert "A (short)" in capsys.readouterr().out
    boxes = [[(d["image_id"], d["category_id"], d["score"]) for d in f] for f in kept.detections]
    assert boxes == [[(3, 1, 0.5), (7, 2, 0.25), (7, 1, 0.12346)], [(4, 1, 1.0)]]
    assert kept.detections[0][0]["bbox"] == [13.0, 20.0, 30.0, 40.1]
    first, second = kept.folds
    assert first["thresholds"]["WBC"] == 0.25 and first["machine"]["device"] == "a CPU"
    assert (first["iterations"], first["seconds"], first["best"]) == (10, 5.0, 60.0)
    assert "seconds" not in second  # it was trained elsewhere


def test_a_fold_that_is_not_evaluated_is_waited_for(evaluated, tmp_path, capsys):
    flags = ["--row", "a", "--name", "A", "--results", str(tmp_path)]
    assert pool(["--from", str(evaluated[0]), str(tmp_path / "fold3"), *flags]) == 0
    assert "not evaluated yet" in capsys.readouterr().out and not (tmp_path / "folds").exists()


def test_the_same_images_twice_are_refused(evaluated, tmp_path):
    again = evaluate(tmp_path / "again", "bccd_fold1_test", [])
    with pytest.raises(ValueError, match="expected other images"):
        pool_folds([evaluated[0], again], "A")


def test_a_damaged_file_says_so(tmp_path):
    (tmp_path / "a.json.gz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="is damaged"):
        read_cross_validation(tmp_path / "a.json.gz")


def test_the_truth_is_that_of_the_fold(evaluated, bccd_root):
    truth = pool_folds(evaluated, "A").truth(0)
    assert len(truth["images"]) == 73
