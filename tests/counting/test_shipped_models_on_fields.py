"""Counts of the shipped models in fields of other sizes and magnifications, on real images."""

import pytest

from bccd.counting.counter import CellCounter
from bccd.data.images.decoding import read_bgr
from bccd.data.records import load_records
from bccd.data.sources.catalog import dataset_root, register_datasets
from bccd.experiments.fields import count_rescaled, count_stitched, stitch
from bccd.model_zoo import DEFAULT_MODEL

SECOND_ANNOTATION = "bccd_relabelled_paper_test"


@pytest.fixture(scope="module")
def counter():
    return CellCounter()


@pytest.fixture(scope="module")
def records(bccd_root, counter):
    if not (dataset_root() / "TXL-PBC/bccd_relabelled.json").is_file():
        pytest.skip("the second annotation of BCCD is not there")
    register_datasets()
    return load_records(SECOND_ANNOTATION, counter.class_names)


@pytest.mark.parametrize("model", [DEFAULT_MODEL, "sparse_rcnn_lite_generalist"])
def test_a_large_field_costs_at_most_a_fifth_more_than_its_parts(model, records):
    """In pixels that the detector sees, which do not depend on what else a machine does."""
    counter, seen = CellCounter(model), []
    detect = counter.predictor.detect_resized

    def watched(image):
        seen.append(image.shape[0] * image.shape[1])
        return detect(image)

    counter.predictor.detect_resized = watched
    images = [read_bgr(record["file_name"]) for record in records[:16]]
    for image in images:
        counter(image, channel_order="BGR")
    single = sum(seen)
    seen.clear()
    result = counter(stitch(images, 4), channel_order="BGR")
    assert result.size == (1920, 2560) and sum(seen) <= 1.2 * single


@pytest.mark.parametrize("side", [2, 3, 4])
def test_fields_side_by_side_count_as_their_marks(counter, records, side):
    result = count_stitched(counter, records, side)
    marked = result["marked"]
    assert result["stitched"]["RBC"] == pytest.approx(marked["RBC"], rel=0.05)
    assert result["stitched"]["WBC"] == marked["WBC"]


def test_a_field_counts_the_same_at_any_magnification(counter, records):
    result = count_rescaled(counter, records[4:8], (0.3, 0.6, 1.0, 1.7, 3.0))
    original = next(row for row in result["counted"] if row["factor"] == 1)
    for row in result["counted"]:
        assert row["RBC"] == pytest.approx(original["RBC"], rel=0.05), row
        assert row["WBC"] == original["WBC"], row
