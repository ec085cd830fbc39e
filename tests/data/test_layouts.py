"""Every layout in which annotation programs write their data is told and read."""

import pytest
from detectron2.data import MetadataCatalog
from layouts import (
    CLASSES,
    IMAGES,
    LAYOUTS,
    SIZE,
    coco,
    coco_cvat,
    pictures,
    text,
    voc_labelimg,
    voc_named_by_number,
    voc_of_bccd,
    xml,
    yolo_label_studio,
    yolo_roboflow,
)
from voc_trees import OBJECT

from bccd.data.checks.report import make_report
from bccd.data.formats.annotated_image import to_records
from bccd.data.formats.conversion import convert
from bccd.data.formats.registry import FORMATS, read_dataset
from bccd.data.sources.by_path import ensure_registered
from bccd.data.sources.opening import open_dataset

EXPECTED = sorted(sorted(boxes) for boxes in IMAGES.values())


def boxes_of(dataset):
    return sorted(
        sorted((box.name, tuple(round(v, 6) for v in box.corners)) for box in image.boxes)
        for image in dataset.images.values()
    )


@pytest.mark.parametrize("write", LAYOUTS, ids=lambda write: write.__name__)
def test_a_layout_is_read_with_its_own_format(tmp_path, write):
    write(tmp_path)
    dataset = read_dataset(tmp_path)
    assert dataset.format == write.__name__.partition("_")[0]
    assert boxes_of(dataset) == EXPECTED
    assert dataset.class_names == (sorted(CLASSES) if dataset.format == "voc" else CLASSES)
    assert make_report(dataset)["usable"]
    for image in dataset.images.values():
        assert (image.width, image.height) == SIZE and image.path.is_file()
    # each image has the boxes of its own annotation
    for image in dataset.images.values():
        (name,) = (name for name in IMAGES if name in image.path.name)
        assert sorted(box.name for box in image.boxes) == sorted(n for n, _ in IMAGES[name])
    assert len({image.image_id for image in dataset.images.values()}) == len(IMAGES)


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_reads_back_the_same(tmp_path, form):
    pictures(tmp_path / "in/images/slide a")
    coco(tmp_path / "in/annotations/train.json", file_name="slide a/{}.jpg")
    dataset = read_dataset(tmp_path / "in")
    convert(dataset, form, tmp_path / "out")
    again = read_dataset(tmp_path / "out")
    assert again.format == form
    assert boxes_of(again) == EXPECTED
    assert {name: len(names) for name, names in again.splits.items()} == {"train": 3}
    records = to_records(again.images.values(), "out", dataset.class_names)
    assert sorted(a["category_id"] for r in records for a in r["annotations"]) == [0, 1, 1]
    with pytest.raises(FileExistsError, match="Name a new folder"):
        convert(dataset, form, tmp_path / "out")


def test_parts_are_selected_by_any_of_their_names(tmp_path):
    for part, folder in (("train", "a"), ("valid", "b")):
        pictures(tmp_path / f"{part}/images", f"{folder}_{{}}.jpg")
        coco(tmp_path / f"{part}/_annotations.coco.json", file_name=f"images/{folder}_{{}}.jpg")
    dataset = read_dataset(tmp_path)
    assert len(dataset.select()) == 6
    assert {image.path.name[0] for image in dataset.select("val")} == {"b"}
    assert len({image.image_id for image in dataset.select()}) == 6
    with pytest.raises(ValueError, match=r"no part 'test'; its parts: train, valid"):
        dataset.select("test")


def test_a_category_that_only_groups_the_others_is_no_class(tmp_path):
    coco_cvat(tmp_path)
    path = tmp_path / "annotations/instances_default.json"
    content = path.read_text().replace('"supercategory": ""', '"supercategory": "cells"')
    content = content.replace('"categories": [', '"categories": [{"id": 0, "name": "cells"}, ')
    path.write_text(content)
    assert read_dataset(tmp_path).class_names == CLASSES


def test_classes_of_bccd_are_registered_in_its_order(tmp_path):
    voc_of_bccd(tmp_path)
    path = tmp_path / "Annotations/smear_3.xml"
    added = "".join(OBJECT.format(name, 1, 2, 9, 9) for name in ("platelets", "wbc", "RBC", "rbc"))
    path.write_text(f"<annotation>{added}</annotation>")
    for name in ("smear_7", "smear_9"):
        (tmp_path / f"Annotations/{name}.xml").write_text("<annotation></annotation>")
    assert read_dataset(tmp_path).class_names == ["RBC", "platelets", "wbc"]
    with open_dataset(str(tmp_path)) as dataset:
        assert dataset.class_names == ["RBC", "WBC", "Platelets"]
    assert ensure_registered(f"voc:{tmp_path}")
    assert MetadataCatalog.get(f"voc:{tmp_path}").thing_classes == ["RBC", "WBC", "Platelets"]


def test_a_file_name_that_names_another_image_is_refused(tmp_path):
    voc_labelimg(tmp_path)
    path = tmp_path / "smear_7.xml"
    path.write_text(path.read_text().replace("smear_7.jpg", "smear_3.jpg"))
    ((found, message),) = read_dataset(tmp_path).unreadable
    assert found == path
    assert "its <filename> is smear_3.jpg, which is beside smear_7.jpg" in message
    assert "Correct <filename>, or rename" in message


def test_an_annotation_of_no_image_names_the_xml_file(tmp_path):
    voc_named_by_number(tmp_path)
    (tmp_path / "JPEGImages/field smear_7.jpg").unlink()
    report = make_report(read_dataset(tmp_path))
    (problem,) = report["problems"]
    assert problem["file"] == "Annotations/1 smear_7.xml"
    assert "which is missing" in problem["message"]


def test_xml_that_is_not_voc_is_named(tmp_path):
    pictures(tmp_path / "images")
    text(tmp_path / "annotations.xml", "<dataset><image/></dataset>")
    ((_, message),) = read_dataset(tmp_path).unreadable
    assert "annotations.xml:1: its root is <dataset>, not <annotation>" in message


def test_two_coco_files_may_list_an_image_with_the_same_boxes_only(tmp_path):
    coco_cvat(tmp_path)
    coco(tmp_path / "annotations/instances_all.json", categories=CLASSES[::-1])
    dataset = read_dataset(tmp_path)
    assert boxes_of(dataset) == EXPECTED and set(dataset.splits) == {"all", "default"}
    path = tmp_path / "annotations/instances_all.json"
    path.write_text(path.read_text().replace("30.0", "31.0"))
    ((_, message),) = read_dataset(tmp_path).unreadable
    assert "has other boxes in" in message and "as coco:FILE" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "class 2, but there are 2 names"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        ("0 32 24 6 5", "expected shares of the image's size"),
        ("0 0.5 0.5 0.1 nan", "expected shares of the image's size"),
        ("0 0.5 0.5 0.1", "4 numbers, expected 5"),
        ("0 0.5 0.5 0.1 0.1 1.5", "score 1.5, expected 0 to 1"),
        ("Blast 0.5 0.5 0.1 0.1", "is not numbers"),
    ],
)
def test_a_wrong_line_of_a_label_file_is_named(tmp_path, line, message):
    yolo_label_studio(tmp_path)
    path = tmp_path / "labels/smear_7.txt"
    path.write_text(f"1 0.5 0.5 0.1 0.1\n{line}\n")
    ((found, text),) = read_dataset(tmp_path).unreadable
    assert found == path and text.startswith(f"{path}:2: ") and message in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nc: 2", "nc: 3", "nc is 3, but there are 2 names"),
        ("['Lymphocyte', 'Blast']", "{1: Lymphocyte, 2: Blast}", "expected 0 to 1"),
        ("['Lymphocyte', 'Blast']", "['Blast', 'Blast']", "two classes have one name"),
        ("['Lymphocyte', 'Blast']", "3", "names is 3, expected the names"),
        ("../train/images", "../trian/images", "none of train, val and test names images"),
    ],
)
def test_a_wrong_data_yaml_is_named(tmp_path, old, new, message):
    yolo_roboflow(tmp_path)
    path = tmp_path / "data.yaml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf"data\.yaml: .*{message}"):
        read_dataset(tmp_path)


def test_labels_where_nobody_looks_are_not_taken_for_images_without_cells(tmp_path):
    yolo_label_studio(tmp_path)
    (tmp_path / "labels").rename(tmp_path / "boxes")
    with pytest.raises(ValueError, match=r"none of its 3 images has a label file; .*labels"):
        read_dataset(tmp_path)


def test_images_of_one_name_in_two_folders_keep_their_own_annotations(tmp_path):
    for slide in ("slide1", "slide2"):
        pictures(tmp_path / "JPEGImages" / slide)
        xml(tmp_path / "Annotations" / slide)
    path = tmp_path / "Annotations/slide2/smear_3.xml"
    path.write_text("<annotation></annotation>")
    dataset = read_dataset(tmp_path)
    assert len(dataset.images) == 6
    assert len(dataset.images["slide1/smear_3"].boxes) == 2
    assert dataset.images["slide2/smear_3"].boxes == ()
    convert(dataset, "coco", tmp_path / "out")
    assert len(read_dataset(tmp_path / "out").images) == 6
