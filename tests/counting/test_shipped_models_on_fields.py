"""Counts of the shipped models in fields of other sizes and magnifications, on real images."""

import pytest

from bccd.counting.counter import CellCounter
from bccd.data.records import load_records
from bccd.data.sources.catalog import dataset_root, register_datasets
from bccd.experiments.fields import count_rescaled, count_stitched

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
