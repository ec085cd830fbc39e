"""Splits of own data: seeded, whole, the same field on one side, classes in every part."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bccd.data.checks.near_duplicates import group_fields
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.experiments.own_data.split import split_groups


def make_images(count, classes=()):
    """``count`` images without files; ``classes``: {number: class}, WBC else."""
    images = {}
    for i in range(count):
        box = AnnotatedBox(dict(classes).get(i, "WBC"), (1, 1, 9, 9), None, "")
        images[f"slide{i % 4}/{i}"] = AnnotatedImage(Path(f"{i}.png"), Path(), i, 64, 48, (box,))
    return images


def test_a_split_is_whole_seeded_and_of_the_shares():
    images = make_images(40)
    groups = [[name] for name in images]
    parts = split_groups(groups, images, 7)
    assert parts == split_groups(groups, images, 7) != split_groups(groups, images, 8)
    assert {part: len(names) for part, names in parts.items()} == {
        "train": 28,
        "val": 6,
        "test": 6,
    }
    assert sorted(name for names in parts.values() for name in names) == sorted(images)


def test_groups_stay_together_and_a_large_one_goes_to_training():
    images = make_images(40)
    names = list(images)
    groups = [names[:20], names[20:23], *([name] for name in names[23:])]
    for seed in range(10):
        parts = split_groups(groups, images, seed)
        assert set(names[:20]) <= set(parts["train"]) and parts["val"] and parts["test"]
        assert any(set(names[20:23]) <= set(part) for part in parts.values())


def test_a_rare_class_is_in_every_part():
    images = make_images(40, {3: "Blast", 17: "Blast", 31: "Blast"})
    for seed in range(5):
        parts = split_groups([[name] for name in images], images, seed)
        for names in parts.values():
            assert {"Blast", "WBC"} <= {images[name].boxes[0].name for name in names}


def test_the_smallest_set_has_one_image_in_each_part():
    images = make_images(3)
    parts = split_groups([[name] for name in images], images, 0)
    assert [len(names) for names in parts.values()] == [1, 1, 1]
    names = list(make_images(12))
    unequal = [names[:10], *([name] for name in names[10:])]
    parts = split_groups(unequal, make_images(12), 0)
    assert [len(names) for names in parts.values()] == [10, 1, 1]
    with pytest.raises(ValueError, match="at least 3 different fields"):
        split_groups([list(images)], images, 0)


def test_near_duplicates_and_folders_are_groups(tmp_path):
    images = {}
    for i in range(4):
        path = tmp_path / f"{i}.png"
        coarse = np.random.default_rng(i).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((640, 480), Image.Resampling.BICUBIC).save(path)
        images[f"slide{i // 2}/{i}"] = AnnotatedImage(path, path, i, 640, 480, ())
    assert [len(group) for group in group_fields(images)] == [1, 1, 1, 1]
    assert group_fields(images, by_folder=True) == [
        ["slide0/0", "slide0/1"],
        ["slide1/2", "slide1/3"],
    ]
    shutil.copy(tmp_path / "0.png", tmp_path / "3.png")
    assert group_fields(images) == [["slide0/0", "slide1/3"], ["slide0/1"], ["slide1/2"]]
