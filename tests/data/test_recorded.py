"""Files that the libraries of other programs wrote (tests/data/recorded/record.py) are read."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from recorded.record import CLASSES, IMAGES, SIZE

from bccd.data.checks.report import make_report
from bccd.data.formats.registry import FORMATS, read_dataset

RECORDED = Path(__file__).with_name("recorded")
ROUNDED = -0.4  # to whole pixels, which supervision numbers from 1
# folder: its format, decimals of a pixel that the library wrote, whether it wrote scores
CASES = {
    "labelme": ("labelme", 9, True),
    "label-studio-sdk/imported": ("labelstudio", 9, False),
    "label-studio-sdk/json": ("labelstudio", 9, True),
    "label-studio-sdk/json_min": ("labelstudio", 9, False),
    "label-studio-sdk/coco": ("coco", 9, False),
    "label-studio-sdk/voc": ("voc", ROUNDED, False),
    "label-studio-sdk/yolo": ("yolo", 9, False),
    "datumaro/cvat": ("cvat", 2, False),
    "datumaro/coco_instances": ("coco", 9, False),
    "datumaro/voc_detection": ("voc", 2, False),
    "datumaro/yolo": ("yolo", 3, False),
    "supervision/coco": ("coco", 5, False),
    "supervision/voc": ("voc", ROUNDED, False),
    "supervision/labelme": ("labelme", 5, False),
    "supervision/yolo": ("yolo", 2, False),
    "fiftyone": ("fiftyone", 9, True),
}


def put_pictures(folder, suffix=".png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(IMAGES):
        Image.new("RGB", SIZE, (200, 100 + 50 * number, 160)).save(folder / f"{name}{suffix}")


def name_of(image):
    (name,) = (name for name in IMAGES if name in image.path.name)
    return name


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_file_is_read_with_classes_boxes_and_scores(tmp_path, case):
    form, digits, scored = CASES[case]
    shutil.copytree(RECORDED / case, tmp_path / "data")
    suffix = ".jpg" if case.startswith("datumaro") else ".png"
    put_pictures(tmp_path / "data" / ("data" if form == "fiftyone" else "images"), suffix)
    if form == "yolo" and case.startswith("datumaro"):
        (tmp_path / "data/images").rename(tmp_path / "pictures")
        for path in (tmp_path / "pictures").iterdir():
            shutil.move(path, tmp_path / "data/obj_train_data")
    if case == "supervision/yolo":
        path = tmp_path / "data/data.yaml"
        path.write_text("train: images\n" + path.read_text())
    dataset = read_dataset(tmp_path / "data")
    assert dataset.format == form and not dataset.unreadable
    assert sorted(dataset.class_names) == sorted(CLASSES)
    found = {name_of(image): image for image in dataset.images.values()}
    for name, boxes in IMAGES.items():
        if name not in found:  # what has no boxes is not listed by these
            assert not boxes and case in EMPTY_LEFT_OUT
            continue
        image = found[name]
        assert image.path.is_file() and (image.width, image.height) == SIZE
        assert sorted(box.name for box in image.boxes) == sorted(label for label, _, _ in boxes)
        for box in image.boxes:
            ((corners, score),) = [(c, s) for label, c, s in boxes if label == box.name]
            assert box.corners == pytest.approx(corners, abs=0.6 * 10**-digits)
            assert box.score == (score if scored else None)


# Label Studio's converter and datumaro write no VOC file of an image without boxes.
EMPTY_LEFT_OUT = ("label-studio-sdk/voc", "label-studio-sdk/json_min", "datumaro/voc_detection")


def test_each_format_that_has_a_library_is_recorded():
    recorded = {form for form, _, _ in CASES.values()}
    assert set(FORMATS) - recorded == {"roboflow", "via", "qupath", "imagej"}


def test_what_the_libraries_leave_out_is_said(tmp_path):
    shutil.copytree(RECORDED / "label-studio-sdk/voc", tmp_path / "data")
    put_pictures(tmp_path / "data/images")
    report = make_report(read_dataset(tmp_path / "data"))
    errors = [p["message"] for p in report["problems"] if p["kind"].startswith("image without")]
    assert len(errors) == 1 and "no annotation names this image" in errors[0]
