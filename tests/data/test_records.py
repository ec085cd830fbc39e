"""Registered data sets of others: box modes, classes by name, and what cannot be used."""

import copy
import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import BoxMode

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.classes import find_class
from bccd.data.formats.annotated_image import from_record
from bccd.data.formats.coco import to_coco
from bccd.data.formats.voc import to_voc_xml
from bccd.data.loading.loader import build_test_loader, build_train_loader, build_val_loss_loader
from bccd.data.record_boxes import boxes_and_classes
from bccd.data.records import load_records
from bccd.data.synthetic import load_smears
from bccd.data.transforms.copy_paste import CopyPaste
from bccd.evaluation.evaluator import BCCDEvaluator

NAME = "of_somebody_else"
RECORDS = load_smears(3, seed=4, height=96, width=128)


@pytest.fixture
def register():
    """Function that registers records (or a function that gives them) and classes under NAME."""

    def register(records, classes=CLASS_NAMES):
        load = records if callable(records) else lambda: copy.deepcopy(records)
        DatasetCatalog.register(NAME, load)
        if classes is not None:
            MetadataCatalog.get(NAME).thing_classes = list(classes)

    yield register
    for catalog in (DatasetCatalog, MetadataCatalog):
        if NAME in catalog:
            catalog.remove(NAME)


def other_form(records, order):
    """The same cells with XYWH boxes, and classes in another order."""
    records = copy.deepcopy(records)
    for annotation in (a for record in records for a in record["annotations"]):
        x0, y0, x1, y1 = annotation["bbox"]
        annotation.update(bbox=[x0, y0, x1 - x0, y1 - y0], bbox_mode=BoxMode.XYWH_ABS)
        annotation["category_id"] = order.index(CLASS_NAMES[annotation["category_id"]])
    return records


def write_coco(folder, order):
    """``RECORDS`` as COCO JSON, the classes spelled and in the order of ``order``, and its root."""
    content = to_coco(RECORDS, CLASS_NAMES)
    positions = {find_class(name, CLASS_NAMES): k for k, name in enumerate(order)}
    content["categories"] = [{"id": 7 * k, "name": name} for k, name in enumerate(order)]
    for annotation in content["annotations"]:
        annotation["category_id"] = 7 * positions[annotation["category_id"] - 1]
    for image, record in zip(content["images"], RECORDS, strict=True):
        image["file_name"] = record["file_name"].removeprefix("smears://")
    (folder / "coco.json").write_text(json.dumps(content))
    return folder / "coco.json", "smears://"


@pytest.mark.parametrize("order", [CLASS_NAMES, ("Platelets", "white blood cell", "RBC")])
def test_coco_instances_evaluate_as_the_built_in_reader_to_the_last_digit(
    tmp_path, register, order
):
    file, root = write_coco(tmp_path, order)
    register(RECORDS)
    rng = np.random.default_rng(0)
    expected = evaluator_of_bccd()
    found = [
        {**a, "bbox": (np.array(a["bbox"]) + rng.normal(0, 2, 4)).tolist(), "score": rng.random()}
        for a in expected.coco_gt["annotations"]
    ]
    predictions = _predictions(found)
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)
    register_coco_instances(NAME, {}, str(file), root)
    actual = evaluator_of_bccd()
    for evaluator in (expected, actual):
        evaluator._predictions = predictions
    expected, actual = expected.evaluate(), actual.evaluate()
    assert actual == expected
    assert 20 < actual["bbox"]["AP"] < 99


def evaluator_of_bccd():
    points = {"operating_points": "choose", "bootstrap_samples": 50}
    return BCCDEvaluator(NAME, class_names=CLASS_NAMES, **points)


def _predictions(found):
    """What an evaluator has collected of a model that numbers the classes as CLASS_NAMES."""
    ids = {d["image_id"] for d in found}
    return [
        {
            "image_id": i,
            "instances": [
                {**d, "category_id": d["category_id"] - 1} for d in found if d["image_id"] == i
            ],
        }
        for i in sorted(ids)
    ]


def test_boxes_of_any_mode_and_classes_of_any_order_are_read_alike_everywhere(cfg, register):
    order = ["Platelets", "RBC", "WBC"]
    foreign = other_form(RECORDS, order)
    register(foreign, order)
    cfg.MODEL.CLASS_NAMES = CLASS_NAMES
    records = load_records(NAME, CLASS_NAMES)
    for record, original in zip(records, RECORDS, strict=True):
        boxes, classes = boxes_and_classes(original)
        assert np.allclose(boxes_and_classes(record)[0], boxes, rtol=0, atol=1e-12)
        assert boxes_and_classes(record)[1].tolist() == classes.tolist()
    cfg.INPUT.MIN_SIZE_TEST, cfg.SOLVER.IMS_PER_BATCH, cfg.DATASETS.TRAIN = 96, 3, (NAME,)
    for sample, original in zip(build_val_loss_loader(cfg, NAME), RECORDS, strict=True):
        boxes, classes = boxes_and_classes(original)
        instances = sample[0]["instances"]
        assert np.allclose(instances.gt_boxes.tensor, boxes, atol=1e-4)
        assert instances.gt_classes.tolist() == classes.tolist()
    counts = sum(np.bincount(boxes_and_classes(r)[1], minlength=3) for r in RECORDS)
    cfg.INPUT.CROP.ENABLED, cfg.INPUT.RANDOM_FLIP = False, "none"
    batch = next(iter(build_train_loader(cfg, seed=0)))
    seen = sum(np.bincount(x["instances"].gt_classes, minlength=3) for x in batch)
    assert seen.tolist() == counts.tolist()


def test_functions_that_take_records_honour_the_box_mode():
    (plain, *_), (foreign, *_) = RECORDS, other_form(RECORDS, list(CLASS_NAMES))
    pairs = (to_coco([record], CLASS_NAMES)["annotations"] for record in (plain, foreign))
    for ours, theirs in zip(*pairs, strict=True):
        assert theirs["bbox"] == pytest.approx(ours["bbox"], abs=1e-9)
    ours, theirs = (to_voc_xml(from_record(each, CLASS_NAMES)) for each in (plain, foreign))
    assert theirs.count("<xmin>") == len(plain["annotations"])
    assert _corners(theirs) == pytest.approx(_corners(ours), abs=1e-9)
    image = np.full((96, 128, 3), 200, np.uint8)
    pasted = [
        CopyPaste([record], lambda name: image, classes=[0, 1, 2], max_pastes=3)(
            image, [], np.random.default_rng(1)
        )[1]
        for record in (plain, foreign)
    ]
    assert pasted[0] == pasted[1]


def _corners(xml):
    return [float(value) for value in re.findall(r"<[xy]m(?:in|ax)>(.*?)</", xml)]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cell",), "has the classes cell; expected RBC, WBC, Platelets"),
        (("RBC", "Platelets", "Neutrophil", "Lymphocyte", "Monocyte"), "lacks WBC"),
        (("RBC", "WBC", "Platelet", "Blast"), "it has boxes of Blast"),
        (("RBC", "WBC", "Platelets"), "has boxes of class 3, but names 3 classes"),
        (None, "does not name its classes"),
    ],
)
def test_other_classes_are_refused_by_all_that_reads_a_data_set(cfg, register, classes, message):
    records = copy.deepcopy(RECORDS)
    records[1]["annotations"][0]["category_id"] = 3
    if classes == ("cell",):
        for annotation in (a for record in records for a in record["annotations"]):
            annotation["category_id"] = 0
    register(records, classes)
    cfg.DATASETS.TRAIN, cfg.MODEL.CLASS_NAMES = (NAME,), CLASS_NAMES
    for read in (
        lambda: BCCDEvaluator(NAME, class_names=CLASS_NAMES),
        lambda: build_train_loader(cfg, seed=0),
        lambda: build_test_loader(cfg, NAME),
    ):
        with pytest.raises(ValueError, match=rf"dataset {NAME} .*{message}"):
            read()


def test_a_class_of_another_name_without_a_box_is_passed_over(register):
    records = copy.deepcopy(RECORDS)
    for annotation in (a for record in records for a in record["annotations"]):
        annotation["category_id"] += 1
    register(records, ("cells", *CLASS_NAMES))  # Roboflow's super-category
    assert load_records(NAME, CLASS_NAMES) == RECORDS


@pytest.mark.parametrize("unannotated", [[], [{**r, "annotations": []} for r in RECORDS]])
def test_nothing_to_train_or_measure_on_is_refused(cfg, register, unannotated):
    register(unannotated)
    cfg.DATASETS.TRAIN = (NAME,)
    for read in (lambda: BCCDEvaluator(NAME), lambda: build_train_loader(cfg, seed=0)):
        with pytest.raises(ValueError, match=rf"dataset {NAME} has (no image|3 images, but no)"):
            read()


def test_images_without_annotations_can_be_detected_in(cfg, register):
    register([{k: v for k, v in r.items() if k != "annotations"} for r in RECORDS], None)
    assert len(build_test_loader(cfg, NAME)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bbox": None}, "00000.png has a box that is not four numbers"),
        ({"bbox": [1, 2, 3]}, "00000.png has a box that is not four numbers"),
        ({"bbox": [0.1, 0.1, 0.2, 0.2], "bbox_mode": BoxMode.XYXY_REL}, "a bbox_mode in pixels"),
        ({"bbox": [9, 9, -3, 4], "bbox_mode": BoxMode.XYWH_ABS}, r"00000.png: box .* is inverted"),
        ({"bbox": [500, 9, 510, 19]}, "lies outside its image of 128x96"),
        ({"bbox": [1, 2, float("nan"), 4]}, "is not finite"),
        ({"category_id": None}, "boxes of class None"),
    ],
)
def test_a_box_that_cannot_be_used_is_named(register, change, message):
    records = copy.deepcopy(RECORDS)
    records[0]["annotations"][0].update(change)
    register(records)
    with pytest.raises(ValueError, match=rf"dataset {NAME}.*{message}"):
        load_records(NAME)


def test_what_a_loader_chokes_on_and_a_record_lacks_is_one_clear_error(tmp_path, register):
    file, root = write_coco(tmp_path, CLASS_NAMES)
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"] = None
    file.write_text(json.dumps(content))
    register_coco_instances(NAME, {}, str(file), root)
    with pytest.raises(ValueError, match=f"dataset {NAME} cannot be read"):
        load_records(NAME)
    DatasetCatalog.remove(NAME)
    register([{"file_name": "a.png", "image_id": 1, "height": None}])
    with pytest.raises(ValueError, match=r"a\.png lacks height, width"):
        load_records(NAME)
    DatasetCatalog.remove(NAME)
    register([RECORDS[0], {**RECORDS[1], "image_id": RECORDS[0]["image_id"]}])
    with pytest.raises(ValueError, match=r"00000\.png and .*00001\.png have the same image_id 0"):
        load_records(NAME)


def test_null_crowd_border_and_area_follow_the_readers_rules(register, caplog):
    record = {"file_name": "a.png", "image_id": 1, "height": 48, "width": 64}
    box = {"bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": None}
    boxes = ([-2, 5, 10, 10], [5, 5, 0, 9], [1, 1, 4, 4])
    register([{**record, "annotations": [{**box, "bbox": list(b)} for b in boxes]}])
    with caplog.at_level(logging.WARNING):
        (loaded,) = load_records(NAME)
    assert [a["bbox"] for a in loaded["annotations"]] == [[0, 5, 8, 15], [1, 1, 5, 5]]
    assert [a["iscrowd"] for a in loaded["annotations"]] == [0, 0]
    assert "1 boxes reach past the border" in caplog.text and "has no area" in caplog.text


def test_the_real_data_set_reads_alike_by_either_way(tmp_path, bccd_root, register):
    expected = load_records("bccd_paper_val")
    (tmp_path / "coco.json").write_text(json.dumps(to_coco(expected, CLASS_NAMES)))
    register_coco_instances(NAME, {}, str(tmp_path / "coco.json"), str(bccd_root / "JPEGImages"))
    actual = {record["image_id"]: record for record in load_records(NAME)}
    for record in expected:
        other = actual[record["image_id"]]
        assert Path(other["file_name"]).name == Path(record["file_name"]).name
        assert [a["bbox"] for a in other["annotations"]] == [
            a["bbox"] for a in record["annotations"]
        ]
