"""The five folds of BCCD."""

from collections import Counter
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.formats.voc_folder import load_voc
from bccd.data.sources.catalog import register_datasets
from bccd.data.sources.folds import FOLDS, SAME_FIELD, divide, fold_parts, read_fold_part
from bccd.data.sources.splits import read_split


def test_every_image_is_tested_once_and_never_trained_on_where_it_is_tested():
    parts = {name: read_fold_part(name) for name in fold_parts()}
    tested = Counter(i for k in range(1, FOLDS + 1) for i in parts[f"fold{k}_test"])
    everything = {*read_split("voc_trainval"), *read_split("voc_test")}
    assert set(tested) == everything and set(tested.values()) == {1}
    for k in range(1, FOLDS + 1):
        train, val, test = (set(parts[f"fold{k}_{part}"]) for part in ("train", "val", "test"))
        assert train | val | test == everything
        assert len(train) + len(val) + len(test) == len(everything)
        assert 218 <= len(train) <= 219


def test_a_field_that_is_shown_twice_is_on_one_side():
    for k in range(1, FOLDS + 1):
        for one, other in SAME_FIELD:
            sides = [
                part
                for part in ("train", "val", "test")
                for image in (one, other)
                if f"BloodImage_{image:05}" in read_fold_part(f"fold{k}_{part}")
            ]
            assert len(sides) == 2 and len(set(sides)) == 1


def test_an_unknown_part_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"'fold6_train'.*fold1_train"):
        read_fold_part("fold6_train")


def test_folds_are_alike_whatever_the_order_of_the_images():
    labels = {f"{n:03}": {"RBC": n % 17, "WBC": 1, "Platelets": n % 3} for n in range(100)}
    folds = divide(labels)
    assert folds == divide(dict(reversed(labels.items())))
    assert {len(ids) for ids in folds} == {20}
    for name in ("RBC", "Platelets"):
        numbers = [sum(labels[i][name] for i in ids) for ids in folds]
        assert max(numbers) <= 1.15 * min(numbers)


def test_the_lists_follow_their_rule_and_are_registered(bccd_root):
    records = load_voc(bccd_root, CLASS_NAMES)
    labels = {
        Path(record["file_name"]).stem: Counter(
            CLASS_NAMES[annotation["category_id"]] for annotation in record["annotations"]
        )
        for record in records
    }
    tests = [read_fold_part(f"fold{k}_test") for k in range(1, FOLDS + 1)]
    assert divide(labels) == tests
    register_datasets()
    assert len(DatasetCatalog.get("bccd_fold4_test")) == 72
    # An image has the same id in every part.
    ids = [r["image_id"] for k in range(1, 6) for r in DatasetCatalog.get(f"bccd_fold{k}_test")]
    assert sorted(ids) == [record["image_id"] for record in records]
