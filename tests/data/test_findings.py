"""Every kind of problem is found, by file and line."""

import shutil

import cv2
import numpy as np
import pytest
from PIL import Image
from voc_trees import write_annotation, write_good_tree, write_picture, write_split

from bccd.data.checks.findings import find_problems
from bccd.data.checks.near_duplicates import near_duplicates, thumbnail
from bccd.data.formats.registry import read_dataset
from bccd.data.sources.download import CONTENT_SHA256, content_digest
from bccd.data.sources.splits import use_bccd_splits


@pytest.fixture
def good(tmp_path):
    return write_good_tree(tmp_path / "good" / "BCCD")


def test_a_good_tree_has_no_problems(good):
    assert find_problems(read_dataset(good)) == []


def line_of_box(root, stem, number):
    """Line of the number-th <xmin>, counted as a person would."""
    lines = (root / "Annotations" / f"{stem}.xml").read_text().splitlines()
    return [i for i, line in enumerate(lines, start=1) if "<xmin>" in line][number]


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        (("RBC", (7, 8, 7, 8)), "box without area"),
        (("RBC", (30, 30, 70, 40)), "box past the border"),
        (("RBC", (1, 2, 20, 29)), "duplicate boxes"),
        (("RBC", (9, 9, 3, 20)), "impossible box"),
        (("Blast", (9, 9, 20, 20)), "unknown class"),
    ],
)
def test_a_wrong_box_is_reported_by_file_and_line(good, box, kind):
    write_annotation(good, "b_1", [("RBC", (1, 2, 20, 30)), ("RBC", (30, 5, 60, 40)), box])
    (problem,) = find_problems(read_dataset(good), ["RBC", "WBC", "Platelets"])
    assert (problem.kind, problem.file) == (kind, "Annotations/b_1.xml")
    assert problem.line == line_of_box(good, "b_1", 2)


def test_an_overlap_of_two_classes_is_no_duplicate(good):
    write_annotation(good, "b_1", [("RBC", (1, 2, 20, 30)), ("WBC", (1, 2, 20, 30))])
    assert find_problems(read_dataset(good)) == []


@pytest.mark.parametrize(
    ("spoil", "kind", "file"),
    [
        (
            lambda root: (root / "JPEGImages/b_1.jpg").unlink(),
            "annotation or list entry without an image",
            "Annotations/b_1.xml",
        ),
        (
            lambda root: write_split(root, "val", ["b_1", "b_9"]),
            "annotation or list entry without an image",
            "ImageSets/Main/val.txt",
        ),
        (
            lambda root: (root / "Annotations/b_1.xml").unlink(),
            "image without an annotation",
            "JPEGImages/b_1.jpg",
        ),
        (
            lambda root: write_annotation(root, "b_1", [], size=(640, 480)),
            "size mismatch",
            "Annotations/b_1.xml",
        ),
        (
            lambda root: (root / "Annotations/b_1.xml").write_text("<annotation>"),
            "unreadable annotation",
            "Annotations/b_1.xml",
        ),
        (
            lambda root: (root / "JPEGImages/b_1.jpg").write_bytes(
                (root / "JPEGImages/b_1.jpg").read_bytes()[:400]
            ),
            "unreadable image",
            "JPEGImages/b_1.jpg",
        ),
        (
            lambda root: shutil.copy(root / "JPEGImages/b_0.jpg", root / "JPEGImages/b_1.jpg"),
            "near-duplicate images",
            "JPEGImages/b_0.jpg",
        ),
    ],
)
def test_a_wrong_file_is_reported(good, spoil, kind, file):
    spoil(good)
    (problem,) = find_problems(read_dataset(good))
    assert (problem.kind, problem.file) == (kind, file)


def test_a_size_that_exif_turned_is_told_as_that(good):
    path = good / "JPEGImages/b_1.jpg"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(path, exif=exif)
    (problem,) = find_problems(read_dataset(good))
    assert problem.kind == "size mismatch"
    assert "states 64x48, but b_1.jpg has 48x64 pixels: its EXIF orientation" in problem.message
    assert "exiftool -Orientation=" in problem.message


def test_files_of_macos_are_no_images_and_no_annotations(good, caplog):
    caplog.set_level("INFO")
    for name in ("JPEGImages/._b_0.jpg", "JPEGImages/._b_9.jpg", "Annotations/._b_0.xml"):
        (good / name).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    assert find_problems(read_dataset(good)) == []
    assert [m for m in caplog.messages if "macOS" in m] == [
        f"Skipped 3 files in which macOS keeps attributes, such as {good}/Annotations/._b_0.xml"
    ]


def test_images_of_every_kind_are_compared_for_near_duplicates(good):
    with Image.open(good / "JPEGImages/b_0.jpg") as image:
        deep = np.asarray(image.convert("RGB")).astype(np.uint16) << 4
    cv2.imwrite(str(good / "JPEGImages/b_2.tif"), deep[..., ::-1])
    (good / "JPEGImages/b_2.jpg").unlink()
    (problem,) = find_problems(read_dataset(good))
    assert problem.kind == "near-duplicate images" and "b_2.tif" in problem.message


def test_a_list_of_one_class_is_no_split(good):
    stems = ("b_0", "b_1", "b_2")
    write_split(
        good, "WBC_train", [f"{stem}  {flag}" for stem, flag in zip(stems, "101", strict=True)]
    )
    (good / "ImageSets/Main/val.txt").write_text("\ufeffb_1\r\n", encoding="utf-8")
    tree = read_dataset(good)
    assert find_problems(tree) == [] and set(tree.splits) == {"train", "val", "test"}


@pytest.mark.parametrize("file", ["notes.json", "labels/cell.txt", "cell.jpg"])
def test_a_folder_without_annotations_is_refused_with_the_remedy(tmp_path, file):
    (tmp_path / "labels").mkdir()
    (tmp_path / file).write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"no annotations in a format .*YOLO: data\.yaml"):
        read_dataset(tmp_path)


def test_two_formats_in_one_folder_are_told_apart_by_the_user(good):
    (good / "classes.txt").write_text("RBC\nWBC\n")
    with pytest.raises(ValueError, match=r"Pascal VOC and as YOLO.* voc:.* or yolo:"):
        read_dataset(good)
    assert read_dataset(good, "voc").class_names == ["RBC", "WBC"]


def test_names_of_classes_that_differ_in_case_alone_are_reported(good):
    write_annotation(good, "b_1", [("Blast", (1, 2, 20, 30)), ("blast", (30, 5, 60, 40))])
    (problem,) = find_problems(read_dataset(good))
    assert problem.kind == "several spellings of a class" and "Blast, blast" in problem.message


def test_an_empty_tree_is_refused(tmp_path):
    for folder in ("Annotations", "JPEGImages"):
        (tmp_path / folder).mkdir()
    with pytest.raises(ValueError, match="neither an image nor an annotation"):
        read_dataset(tmp_path)


def test_near_duplicates_say_which_splits_they_cross(good):
    shutil.copy(good / "JPEGImages/b_0.jpg", good / "JPEGImages/b_1.jpg")
    (problem,) = find_problems(read_dataset(good))
    assert "b_0 in train; b_1 in val" in problem.message
    write_split(good, "train", ["b_0", "b_1"])
    write_split(good, "val", [])
    (problem,) = find_problems(read_dataset(good))
    assert "same part of every split" in problem.message


def test_near_duplicates_survive_a_shift_recompression_and_brightness(tmp_path):
    field = Image.fromarray(
        np.random.default_rng(1).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    ).resize((800, 600), Image.Resampling.BICUBIC)
    field.crop((0, 0, 640, 480)).save(tmp_path / "one.png")
    moved = field.crop((90, 60, 730, 540))
    moved.point(lambda value: value * 0.8 + 20).save(tmp_path / "two.jpg", quality=60)
    write_picture(tmp_path / "three.png", seed=2, size=(640, 480))
    names = ("three.png", "one.png", "two.jpg")
    assert near_duplicates([thumbnail(tmp_path / name) for name in names]) == [(1, 2)]


def test_near_duplicates_of_empty_pictures():
    noise = np.random.default_rng(0).integers(0, 255, (60, 80), dtype=np.uint8)
    empty = np.full((60, 80), 200, dtype=np.uint8)
    assert near_duplicates([]) == near_duplicates([noise]) == []
    assert near_duplicates([empty, noise, empty - 9, noise]) == [(1, 3)]


def test_real_bccd_is_the_published_one_with_its_known_faults(bccd_root):
    assert content_digest(bccd_root) == CONTENT_SHA256
    problems = find_problems(use_bccd_splits(read_dataset(bccd_root)))
    kinds = [problem.kind for problem in problems]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "box without area": 2,
        "duplicate boxes": 8,
        "near-duplicate images": 10,
    }
    assert [(problem.file, problem.line) for problem in problems[:2]] == [
        ("Annotations/BloodImage_00338.xml", 164),
        ("Annotations/BloodImage_00343.xml", 56),
    ]
    pairs = {problem.file: problem.message for problem in problems[-10:]}
    message = pairs["JPEGImages/BloodImage_00037.jpg"]
    assert "BloodImage_00037 in voc_val; BloodImage_00038 in voc_train" in message
    assert "paper" not in message  # there both are in train
    message = pairs["JPEGImages/BloodImage_00236.jpg"]
    assert (
        "BloodImage_00236 in paper_test, voc_trainval, voc_val; BloodImage_00253 in paper_train"
        in message
    )
