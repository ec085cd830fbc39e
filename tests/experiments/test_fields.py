import json
from pathlib import Path

import cv2
import numpy as np
from fake_predictor import FakePredictor

from bccd.counting.counter import CellCounter
from bccd.experiments.fields import (
    count_rescaled,
    count_stitched,
    rescaled_table,
    stitch,
    stitched_table,
)

ROOT = Path(__file__).parents[2]


def make_records(folder, count):
    """Images of their own grey value with a red and a white cell marked."""
    records = []
    for i in range(count):
        cv2.imwrite(f"{folder}/{i}.png", np.full((48, 64, 3), 10 * i, np.uint8))
        box = {"bbox": [0, 0, 9, 9], "bbox_mode": 0, "iscrowd": 0}
        annotations = [{**box, "category_id": k} for k in (0, 1)]
        records.append({"file_name": f"{folder}/{i}.png", "annotations": annotations})
    return records


def test_fields_are_put_side_by_side_row_by_row():
    images = [np.full((2, 3, 3), i, np.uint8) for i in range(4)]
    expected = [[0] * 3 + [1] * 3] * 2 + [[2] * 3 + [3] * 3] * 2
    np.testing.assert_array_equal(stitch(images, 2)[..., 0], expected)


def test_counts_of_fields(tmp_path):
    predictor = FakePredictor()
    counter = CellCounter.of(predictor, 0.5)  # a red and a white cell in every image
    records = make_records(tmp_path, 5)
    result = count_stitched(counter, records, 2)
    assert result["fields"] == 4 and result["size"] == (96, 128)
    assert result["marked"] == {"RBC": 4, "WBC": 4, "Platelets": 0} == result["single"]
    assert result["stitched"] == {"RBC": 1, "WBC": 1, "Platelets": 0}
    assert result["found"] == {"RBC": 0, "WBC": 0, "Platelets": 0}  # larger than the marks
    assert result["milliseconds_single"] > 0 < result["milliseconds_stitched"]
    predictor.images.clear()
    result = count_rescaled(counter, records, (0.5, 2))
    assert [image.shape[:2] for image in predictor.images] == [(24, 32)] * 5 + [(96, 128)] * 5
    assert [row["RBC"] for row in result["counted"]] == [5, 5] and result["marked"]["WBC"] == 5


def test_the_page_shows_what_was_measured():
    runs = json.loads((ROOT / "results/fields.json").read_text())["runs"]
    page = (ROOT / "docs/results.md").read_text()
    assert stitched_table(runs) in page and rescaled_table(runs) in page
