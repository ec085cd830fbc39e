"""VOC, COCO and Roboflow readers: round trips, and every rule on boxes."""

import json
import logging
import random
import re

import pytest
from detectron2.structures import BoxMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.formats.annotated_image import from_record
from bccd.data.formats.coco import load_coco, to_coco
from bccd.data.formats.voc import to_voc_xml
from bccd.data.formats.voc_folder import load_voc

WIDTH, HEIGHT = 64, 48
round_trip = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def boxes(draw):
    # quarters of a pixel, which x + width gives back exactly
    x0, x1 = sorted(draw(st.lists(st.integers(0, 4 * WIDTH), min_size=2, max_size=2, unique=True)))
    y0, y1 = sorted(draw(st.lists(st.integers(0, 4 * HEIGHT), min_size=2, max_size=2, unique=True)))
    return [x0 / 4, y0 / 4, x1 / 4, y1 / 4]


annotated = st.lists(st.lists(st.tuples(boxes(), st.integers(0, 2)), max_size=6), max_size=4)


def make_records(folder, images):
    records = []
    for number, objects in enumerate(images):
        annotations = [
            {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": c, "iscrowd": 0}
            for box, c in objects
        ]
        records.append(
            {
                "file_name": str(folder / f"cell_{number:03d}.jpg"),
                "image_id": number,
                "height": HEIGHT,
                "width": WIDTH,
                "annotations": annotations,
            }
        )
    return records


def write_voc(root, records, names=CLASS_NAMES):
    for folder in ("Annotations", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for old in (root / folder).iterdir():
            old.unlink()
    for record in records:
        stem = f"cell_{record['image_id']:03d}"
        (root / "JPEGImages" / f"{stem}.jpg").touch()
        text = to_voc_xml(from_record(record, CLASS_NAMES))
        for name, spelling in zip(CLASS_NAMES, names, strict=True):
            text = text.replace(f"<name>{name}<", f"<name>{spelling}<")
        (root / "Annotations" / f"{stem}.xml").write_text(text)


@round_trip
@given(images=annotated, names=st.sampled_from([CLASS_NAMES, ("rbc", "Wbc", "platelet")]))
def test_voc_round_trip(tmp_path, images, names):
    records = make_records(tmp_path / "JPEGImages", images)
    write_voc(tmp_path, records, names)
    assert load_voc(tmp_path, CLASS_NAMES) == records


@round_trip
@given(images=annotated)
def test_coco_round_trip(tmp_path, images):
    records = make_records(tmp_path, images)
    for record in records:
        (tmp_path / f"cell_{record['image_id']:03d}.jpg").touch()
    (tmp_path / "coco.json").write_text(json.dumps(to_coco(records, CLASS_NAMES)))
    assert load_coco(tmp_path / "coco.json", tmp_path, CLASS_NAMES) == records


@round_trip
@given(images=annotated, seed=st.integers(0, 100))
def test_roboflow_categories_come_out_in_our_order(tmp_path, images, seed):
    records = make_records(tmp_path, images)
    for record in records:
        (tmp_path / f"cell_{record['image_id']:03d}.jpg").touch()
    content = to_coco(records, CLASS_NAMES)
    ids = random.Random(seed).sample(range(10), 4)
    new_ids = dict(zip((1, 2, 3), ids[1:], strict=True))
    content["categories"] = [
        {"id": new_ids[category["id"]], "name": category["name"], "supercategory": "cells"}
        for category in content["categories"]
    ]
    content["categories"].append({"id": ids[0], "name": "cells", "supercategory": "none"})
    random.Random(seed).shuffle(content["categories"])
    for annotation in content["annotations"]:
        annotation["category_id"] = new_ids[annotation["category_id"]]
        annotation["segmentation"] = []
    (tmp_path / "_annotations.coco.json").write_text(json.dumps(content))
    assert load_coco(tmp_path / "_annotations.coco.json", tmp_path, CLASS_NAMES) == records


def test_to_coco_against_values_worked_out_by_hand(tmp_path):
    (record,) = make_records(tmp_path, [[([1.0, 2.0, 11.0, 22.0], 2)]])
    content = to_coco([record], CLASS_NAMES)
    assert content["categories"] == [
        {"id": 1, "name": "RBC"},
        {"id": 2, "name": "WBC"},
        {"id": 3, "name": "Platelets"},
    ]
    assert content["images"] == [
        {"id": 0, "file_name": "cell_000.jpg", "width": WIDTH, "height": HEIGHT}
    ]
    assert content["annotations"] == [
        {
            "id": 1,
            "image_id": 0,
            "category_id": 3,
            "bbox": [1.0, 2.0, 10.0, 20.0],
            "area": 200.0,
            "iscrowd": 0,
        }
    ]


def one_box_voc(root, box, name="RBC"):
    """A VOC tree of one image with one box; returns the line of its xmin as a person counts it."""
    (record,) = make_records(root / "JPEGImages", [[(box, 0)]])
    write_voc(root, [record], (name, "WBC", "Platelets"))
    lines = (root / "Annotations" / "cell_000.xml").read_text().splitlines()
    return 1 + next(i for i, line in enumerate(lines) if "<xmin>" in line)


def one_box_coco(root, box):
    x0, y0, x1, y1 = box
    (root / "cell_000.jpg").touch()
    content = to_coco(make_records(root, [[([0, 0, 1, 1], 0)]]), CLASS_NAMES)
    content["annotations"][0]["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    (root / "coco.json").write_text(json.dumps(content))


def test_box_without_area_is_dropped_with_a_warning_at_file_and_line(tmp_path, caplog):
    line = one_box_voc(tmp_path, [5, 7, 5, 7])
    with caplog.at_level(logging.WARNING):
        assert load_voc(tmp_path, CLASS_NAMES)[0]["annotations"] == []
    assert f"cell_000.xml:{line}: box (5, 7, 5, 7) has no area" in caplog.text

    caplog.clear()
    one_box_coco(tmp_path, [5, 7, 5, 9])
    with caplog.at_level(logging.WARNING):
        assert load_coco(tmp_path / "coco.json", tmp_path, CLASS_NAMES)[0]["annotations"] == []
    assert "coco.json: annotation 1: box (5, 7, 5, 9) has no area" in caplog.text


def test_boxes_past_the_border_are_clipped_with_one_line_for_all(tmp_path, caplog):
    past = [([-3, 5, 10, HEIGHT + 8], 0), ([50, 40, WIDTH + 1, 44], 1), ([0, 0, WIDTH, HEIGHT], 2)]
    write_voc(tmp_path, make_records(tmp_path / "JPEGImages", [past]))
    with caplog.at_level(logging.WARNING):
        (record,) = load_voc(tmp_path, CLASS_NAMES)
    assert [annotation["bbox"] for annotation in record["annotations"]] == [
        [0, 5, 10, HEIGHT],
        [50, 40, WIDTH, 44],
        [0, 0, WIDTH, HEIGHT],
    ]
    assert len(caplog.records) == 1
    assert "2 boxes reach past the border" in caplog.text


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ([10, 5, 4, 9], "inverted"),
        ([WIDTH + 1, 5, WIDTH + 9, 9], "outside its image"),
        ([float("nan"), 5, 9, 9], "not finite"),
        ([1, 5, float("inf"), 9], "not finite"),
    ],
)
def test_an_impossible_box_is_an_error_at_file_and_line(tmp_path, box, message):
    line = one_box_voc(tmp_path, box)
    with pytest.raises(ValueError, match=rf"cell_000\.xml:{line}: box .* {message}"):
        load_voc(tmp_path, CLASS_NAMES)
    one_box_coco(tmp_path, box)
    with pytest.raises(ValueError, match=rf"coco\.json: annotation 1: box .* {message}"):
        load_coco(tmp_path / "coco.json", tmp_path, CLASS_NAMES)


def test_an_unknown_class_is_an_error_at_file_and_line(tmp_path):
    line = one_box_voc(tmp_path, [1, 1, 9, 9], name="Blast")
    with pytest.raises(ValueError, match=rf"cell_000\.xml:{line}: unknown class 'Blast'"):
        load_voc(tmp_path, CLASS_NAMES)


def test_a_used_super_category_is_an_error(tmp_path):
    one_box_coco(tmp_path, [1, 1, 9, 9])
    content = json.loads((tmp_path / "coco.json").read_text())
    content["categories"][0]["name"] = "cells"
    (tmp_path / "coco.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="annotation 1: unknown class 'cells'"):
        load_coco(tmp_path / "coco.json", tmp_path, CLASS_NAMES)


@pytest.mark.parametrize("missing", ["Annotations/cell_000.xml", "JPEGImages/cell_000.jpg"])
def test_a_missing_file_is_named(tmp_path, missing):
    one_box_voc(tmp_path, [1, 1, 9, 9])
    (tmp_path / missing).unlink()
    for image_ids in (None, ["cell_000"]):
        with pytest.raises(FileNotFoundError, match=missing):
            load_voc(tmp_path, CLASS_NAMES, image_ids)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<width>64</width>", "<width>0</width>", "size/width is '0'"),
        ("<width>64</width>", "", "<size/width> is missing"),
        ("<name>RBC</name>", "<name/>", "<name> is missing or empty"),
        ("<xmin>1</xmin>", "<xmin>one</xmin>", "xmin is 'one'"),
        ("</annotation>", "", "not well-formed XML"),
    ],
)
def test_a_broken_xml_file_is_named(tmp_path, old, new, message):
    one_box_voc(tmp_path, [1, 1, 9, 9])
    path = tmp_path / "Annotations" / "cell_000.xml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises((ValueError, FileNotFoundError), match=rf"cell_000\.xml:\d+: .*{message}"):
        load_voc(tmp_path, CLASS_NAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), "no list 'images'"),
        (lambda c: c["annotations"][0].pop("bbox"), "annotation 1: bbox is missing"),
        (lambda c: c["annotations"][0].update(bbox=None), "annotation 1: bbox is missing"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, None, 4]), "annotation 1: bbox is"),
        (lambda c: c["annotations"][0].update(bbox=["1", "2", "3", "4"]), "annotation 1: bbox is"),
        (lambda c: c["annotations"][0].update(bbox=[9, 9, -3, 4]), "annotation 1: box .* inverted"),
        (
            lambda c: c["annotations"][0].update(bbox=[], segmentation={"counts": "a", "size": []}),
            "annotation 1: bbox is missing, and segmentation has no polygons",
        ),
        (lambda c: c["annotations"][0].update(iscrowd="no"), "annotation 1: iscrowd is 'no'"),
        (lambda c: c["annotations"][0].update(category_id=None), "annotation 1: category_id None"),
        (lambda c: c["annotations"][0].update(image_id=[0]), r"annotation 1: image_id \[0\]"),
        (lambda c: c["annotations"].append(None), r"annotations\[1\] is None"),
        (
            lambda c: c["categories"].append({"id": 1, "name": "WBC"}),
            "two categories have the id 1",
        ),
        (lambda c: c["images"][0].update(id="0"), "images has the id '0'"),
        (lambda c: c["images"][0].update(file_name=None), "image 0: file_name is None"),
        (lambda c: c["images"][0].update(width="64"), "image 0: width is '64'"),
        (lambda c: c["images"][0].update(width=None), "image 0: width is None"),
        (
            lambda c: c["images"][0].update(width=None, height=None),
            "image 0: width and height are missing, and cannot be taken",
        ),
        (lambda c: c["annotations"][0].update(image_id=9), "annotation 1: image_id 9"),
        (lambda c: c["annotations"][0].update(category_id=9), "annotation 1: category_id 9"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "annotation 1: bbox is"),
        (lambda c: c["images"].append(c["images"][0]), "two images have the id 0"),
        (lambda c: c["images"][0].update(width=0), "image 0: width is 0"),
    ],
)
def test_broken_coco_is_named(tmp_path, change, message):
    one_box_coco(tmp_path, [1, 1, 9, 9])
    content = json.loads((tmp_path / "coco.json").read_text())
    change(content)
    (tmp_path / "coco.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=rf"coco\.json: .*{message}"):
        load_coco(tmp_path / "coco.json", tmp_path, CLASS_NAMES)


def test_what_a_program_leaves_out_or_writes_as_null_has_its_default(tmp_path):
    box = [1, 1, 9, 9]
    one_box_coco(tmp_path, box)
    expected = load_coco(tmp_path / "coco.json", tmp_path, CLASS_NAMES)
    content = json.loads((tmp_path / "coco.json").read_text())
    (tmp_path / "in a" / "b").mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "in a" / "b" / "cell.jpg")
    content["images"][0].update(width=None, height=None, file_name="in a\\b\\cell.jpg")
    for category in content["categories"]:
        category["id"] = 30 - 10 * category["id"]  # neither from 1 on, nor in order
    for empty in ([], None):
        content["annotations"][0].update(
            bbox=empty, segmentation=[[1, 1, 9, 1, 9, 4], [9, 9, 2, 9, 5, 5]], iscrowd=None
        )
        content["annotations"][0].update(area=None, score=None, category_id=20)
        (tmp_path / "coco.json").write_text("\ufeff" + json.dumps(content), encoding="utf-8")
        (record,) = load_coco(tmp_path / "coco.json", tmp_path, CLASS_NAMES)
        assert record.pop("file_name") == str(tmp_path / "in a" / "b" / "cell.jpg")
        assert record == {k: v for k, v in expected[0].items() if k != "file_name"}


def test_a_size_that_the_xml_lacks_is_the_images(tmp_path):
    one_box_voc(tmp_path, [1, 1, 9, 9])
    expected = load_voc(tmp_path, CLASS_NAMES)
    path = tmp_path / "Annotations" / "cell_000.xml"
    path.write_text(re.sub("<size>.*</size>", "", path.read_text(), flags=re.DOTALL))
    with pytest.raises(ValueError, match=r"cell_000\.xml: <size> is missing, and cannot be taken"):
        load_voc(tmp_path, CLASS_NAMES)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "JPEGImages" / "cell_000.jpg")
    assert load_voc(tmp_path, CLASS_NAMES) == expected


def test_two_images_of_one_name_are_refused_and_files_of_a_mac_passed_over(tmp_path, caplog):
    one_box_voc(tmp_path, [1, 1, 9, 9])
    expected = load_voc(tmp_path, CLASS_NAMES)
    (tmp_path / "Annotations" / "._cell_000.xml").write_bytes(b"\0\5\26\7")
    (tmp_path / "JPEGImages" / "._cell_000.jpg").write_bytes(b"\0\5\26\7")
    with caplog.at_level(logging.INFO):
        assert load_voc(tmp_path, CLASS_NAMES) == expected
    assert "Skipped 2 files in which macOS keeps attributes" in caplog.text

    second = tmp_path / "JPEGImages" / "cell_000.png"
    second.touch()
    with pytest.raises(ValueError, match=r"cell_000\.jpg and .*cell_000\.png have one name"):
        load_voc(tmp_path, CLASS_NAMES)


def test_reading_opens_no_image_and_writes_nothing(tmp_path, monkeypatch):
    one_box_voc(tmp_path, [1, 1, 9, 9])
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*"))
    monkeypatch.setattr(Image, "open", lambda *args, **kwargs: pytest.fail("an image was opened"))
    load_voc(tmp_path, CLASS_NAMES)
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*")) == before


def test_image_ids_choose_and_order(tmp_path):
    records = make_records(tmp_path / "JPEGImages", [[], [], []])
    write_voc(tmp_path, records)
    assert load_voc(tmp_path, CLASS_NAMES, ["cell_002", "cell_000"]) == [records[2], records[0]]
