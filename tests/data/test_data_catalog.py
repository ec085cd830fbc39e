"""Splits, registered names, and the facts about the real BCCD."""

from collections import Counter
from itertools import combinations

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.classes import class_colors, find_class
from bccd.data.formats.voc_folder import image_numbers, load_voc
from bccd.data.sources.catalog import dataset_root, register_datasets
from bccd.data.sources.splits import paper_split, read_split, split_names

SIZES = {
    "paper_train": 256,
    "paper_val": 74,
    "paper_test": 34,
    "voc_train": 205,
    "voc_val": 87,
    "voc_trainval": 292,
    "voc_test": 72,
}


def count(records):
    return Counter(
        CLASS_NAMES[annotation["category_id"]]
        for record in records
        for annotation in record["annotations"]
    )


def test_split_sizes_and_disjointness():
    assert {name: len(set(read_split(name))) for name in split_names()} == SIZES
    everything = set(read_split("voc_trainval")) | set(read_split("voc_test"))
    assert len(everything) == 364
    for family in ("paper", "voc"):
        parts = [set(read_split(f"{family}_{part}")) for part in ("train", "val", "test")]
        assert set().union(*parts) == everything
        assert not any(one & other for one, other in combinations(parts, 2))
    assert set(read_split("voc_train")) | set(read_split("voc_val")) == set(
        read_split("voc_trainval")
    )


def test_paper_split_follows_its_rule_in_any_order_of_the_ids():
    ids = read_split("voc_test") + read_split("voc_trainval")
    assert paper_split(ids) == {
        name: read_split(name) for name in ("paper_train", "paper_val", "paper_test")
    }


def test_an_unknown_split_lists_the_known_ones():
    with pytest.raises(ValueError, match="paper_train"):
        read_split("paper_trainval")


def test_image_numbers():
    assert image_numbers(["BloodImage_00037", "BloodImage_00000"]) == {
        "BloodImage_00037": 37,
        "BloodImage_00000": 0,
    }
    assert image_numbers(["a_1", "b_1"]) == {"a_1": 1, "b_1": 2}
    assert image_numbers(["smear", "a_7"]) == {"smear": 1, "a_7": 2}


def test_class_spellings():
    for name in ("RBC", "rbc", " Rbc ", "Red blood cells"):
        assert find_class(name, CLASS_NAMES) == 0
    assert [find_class(name, CLASS_NAMES) for name in CLASS_NAMES] == [0, 1, 2]
    assert find_class("PLATELET", CLASS_NAMES) == 2
    assert find_class("cells", CLASS_NAMES) is None


def test_class_colors_differ_in_grey_print_too():
    grey = [0.299 * r + 0.587 * g + 0.114 * b for r, g, b in class_colors(CLASS_NAMES)]
    assert all(abs(one - other) > 25 for one, other in combinations(grey, 2))


def test_registering_twice_is_fine_and_reads_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "nowhere"))
    register_datasets()
    register_datasets()
    names = {f"bccd_{name}" for name in SIZES} | {"smears_train", "smears_val", "smears_test"}
    assert names <= set(DatasetCatalog.list())
    for name in names:
        metadata = MetadataCatalog.get(name)
        assert metadata.thing_classes == list(CLASS_NAMES)
        assert metadata.evaluator_type == "coco"
        assert len(metadata.thing_colors) == 3
    with pytest.raises(FileNotFoundError, match=r"prepare_bccd\.py"):
        DatasetCatalog.get("bccd_paper_val")


def test_smears_are_registered_with_their_sizes():
    sizes = {part: len(DatasetCatalog.get(f"smears_{part}")) for part in ("val", "test")}
    assert sizes == {"val": 50, "test": 50}


@pytest.mark.parametrize(
    ("name", "rbc", "wbc", "platelets"),
    [
        ("paper_train", 2938 - 2, 263, 249),  # the paper's figures; two RBC have no area
        ("paper_val", 840, 74, 78),
        ("paper_test", 377, 35, 34),
    ],
)
def test_paper_split_has_the_papers_label_counts(bccd_root, name, rbc, wbc, platelets):
    records = DatasetCatalog.get(f"bccd_{name}")
    assert len(records) == SIZES[name]
    assert count(records) == {"RBC": rbc, "WBC": wbc, "Platelets": platelets}


def test_voc_splits_are_the_data_sets_own(bccd_root):
    for part in ("train", "val", "trainval", "test"):
        own = (bccd_root / "ImageSets" / "Main" / f"{part}.txt").read_text().split()
        assert read_split(f"voc_{part}") == sorted(own)
        assert len(DatasetCatalog.get(f"bccd_voc_{part}")) == len(own)


def test_all_of_bccd(bccd_root, caplog):
    records = load_voc(bccd_root, CLASS_NAMES)
    assert len(records) == 364
    assert count(records) == {"RBC": 4153, "WBC": 372, "Platelets": 361}
    assert [record["image_id"] for record in records[:1]] == [0]
    assert all((record["width"], record["height"]) == (640, 480) for record in records)
    dropped = [message for message in caplog.messages if "no area" in message]
    assert len(dropped) == 2
    assert "BloodImage_00338.xml" in dropped[0] and "BloodImage_00343.xml" in dropped[1]


@pytest.mark.parametrize(
    ("name", "images", "counts"),
    [
        ("txl_pbc_pbc", 500, {"RBC": 6325, "WBC": 526, "Platelets": 342}),
        ("txl_pbc_bccd_relabelled", 160, {"RBC": 3179, "WBC": 164, "Platelets": 167}),
        ("bccd_relabelled_paper_val", 34, {"RBC": 661, "WBC": 34, "Platelets": 44}),
        ("bccd_relabelled_paper_test", 17, {"RBC": 333, "WBC": 18, "Platelets": 24}),
    ],
)
def test_second_annotations(name, images, counts):
    if not (dataset_root() / "TXL-PBC" / "pbc.json").is_file():
        pytest.skip(f"TXL-PBC is not in {dataset_root()}; set DETECTRON2_DATASETS to run this test")
    records = DatasetCatalog.get(name)
    assert len(records) == images
    assert count(records) == counts
