import copy

import numpy as np
import pytest
import torch
from detectron2.data import transforms as T
from detectron2.structures import BoxMode
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bccd.config import get_bccd_cfg
from bccd.data.loading.mapper import BCCDDatasetMapper

HEIGHT, WIDTH = 40, 60


def _record(folder, boxes):
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "cells.png")
    return {
        "file_name": str(folder / "cells.png"),
        "image_id": 7,
        "height": HEIGHT,
        "width": WIDTH,
        "annotations": [
            {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": i % 3, "iscrowd": 0}
            for i, box in enumerate(boxes)
        ],
    }


def _cfg():
    cfg = get_bccd_cfg()
    cfg.INPUT.MIN_SIZE_TRAIN = (0,)
    cfg.INPUT.MIN_SIZE_TEST = 2 * HEIGHT
    cfg.INPUT.RANDOM_FLIP = "both"
    cfg.INPUT.ROTATE90 = True
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.CROP.SIZE = [0.5, 0.5]
    cfg.INPUT.PHOTOMETRIC.ENABLED = True
    cfg.INPUT.PHOTOMETRIC.NOISE_STD = 5.0
    return cfg


@pytest.fixture
def record(tmp_path):
    return _record(tmp_path, [[3.0, 4.0, 30.0, 21.0], [40.0, 10.0, 60.0, 40.0]])


def _equal(a, b):
    return torch.equal(a["image"], b["image"]) and torch.equal(
        a["instances"].gt_boxes.tensor, b["instances"].gt_boxes.tensor
    )


BOX = st.tuples(
    st.lists(st.integers(0, WIDTH), min_size=2, max_size=2, unique=True).map(sorted),
    st.lists(st.integers(0, HEIGHT), min_size=2, max_size=2, unique=True).map(sorted),
).map(lambda xy: [float(xy[0][0]), float(xy[1][0]), float(xy[0][1]), float(xy[1][1])])


@settings(max_examples=30, deadline=None)
@given(
    boxes=st.lists(BOX, max_size=6),
    corner=st.tuples(st.integers(0, 30), st.integers(0, 20)),
    least=st.sampled_from([0.0, 0.25, 0.4, 1.0]),
)
def test_boxes_that_lose_too_many_pixels_are_dropped(tmp_path_factory, boxes, corner, least):
    (left, top), width, height = corner, 30, 20
    mapper = BCCDDatasetMapper(
        True,
        augmentations=[T.CropTransform(left, top, width, height)],
        image_format="BGR",
        min_box_area=least,
    )
    expected_boxes, expected_classes = [], []
    for index, (x0, y0, x1, y1) in enumerate(boxes):
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
        ys, xs = np.nonzero(mask[top : top + height, left : left + width])
        if len(xs) and len(xs) >= least * mask.sum():
            expected_boxes.append([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            expected_classes.append(index % 3)
    instances = mapper(_record(tmp_path_factory.getbasetemp(), boxes))["instances"]
    assert instances.gt_boxes.tensor.tolist() == expected_boxes
    assert instances.gt_classes.tolist() == expected_classes


def test_other_shapes_and_crowds_are_left_out(record):
    for annotation in record["annotations"]:
        annotation["segmentation"] = [[3.0, 4.0, 30.0, 4.0, 30.0, 21.0]]
    record["annotations"][1]["iscrowd"] = 1
    mapper = BCCDDatasetMapper(_cfg(), is_train=False, keep_annotations=True)
    instances = mapper(record)["instances"]
    assert set(instances.get_fields()) == {"gt_boxes", "gt_classes"} and len(instances) == 1


def test_a_box_without_area_is_dropped(tmp_path):
    cfg = _cfg()
    cfg.INPUT.CROP.ENABLED = False
    cfg.INPUT.CROP.MIN_BOX_AREA = 0.0
    record = _record(tmp_path, [[5.0, 5.0, 5.0, 5.0], [1.0, 2.0, 9.0, 9.0]])
    assert len(BCCDDatasetMapper(cfg, True)(record)["instances"]) == 1


def test_a_sample_seed_determines_the_sample_and_global_chance_goes_on(record):
    mapper = BCCDDatasetMapper(_cfg(), is_train=True)
    seeded = {**record, "sample_seed": (3, 14)}
    np.random.seed(0)
    expected_next = np.random.rand()
    np.random.seed(0)
    first = mapper(seeded)
    assert np.random.rand() == expected_next
    assert _equal(first, mapper(seeded))
    others = [mapper({**record, "sample_seed": seed}) for seed in ((3, 15), (4, 14))]
    assert not any(_equal(first, other) for other in others)
    assert "sample_seed" not in first


def test_global_chance_goes_on_after_an_error(record):
    mapper = BCCDDatasetMapper(_cfg(), is_train=True)
    before = np.random.get_state()[1].copy()
    with pytest.raises(FileNotFoundError):
        mapper({**record, "file_name": "nowhere.png", "sample_seed": (0, 0)})
    assert np.array_equal(np.random.get_state()[1], before)


def test_the_record_is_left_as_it_was(record):
    before = copy.deepcopy(record)
    BCCDDatasetMapper(_cfg(), is_train=True)(record)
    assert record == before


@pytest.mark.parametrize("annotations", [[], None])
def test_training_gives_instances_without_annotations(record, annotations):
    if annotations is None:
        del record["annotations"]
    else:
        record["annotations"] = annotations
    instances = BCCDDatasetMapper(_cfg(), is_train=True)(record)["instances"]
    assert instances.gt_boxes.tensor.shape == (0, 4) and instances.gt_classes.shape == (0,)


def test_testing_gives_instances_only_when_asked(record):
    plain = BCCDDatasetMapper(_cfg(), is_train=False)(record)
    kept = BCCDDatasetMapper(_cfg(), is_train=False, keep_annotations=True)(record)
    assert "instances" not in plain and "annotations" not in plain
    assert plain["image"].shape == (3, 2 * HEIGHT, 2 * WIDTH)
    assert torch.equal(plain["image"], kept["image"])
    expected = [[2 * x for x in annotation["bbox"]] for annotation in record["annotations"]]
    assert kept["instances"].gt_boxes.tensor.tolist() == expected
    assert kept["instances"].gt_classes.tolist() == [0, 1]
    assert kept["instances"].image_size == (2 * HEIGHT, 2 * WIDTH)


def test_images_come_as_bgr(record):
    cfg = _cfg()
    cfg.INPUT.MIN_SIZE_TEST = 0
    image = BCCDDatasetMapper(cfg, is_train=False)(record)["image"]
    rgb = np.asarray(Image.open(record["file_name"]))
    assert np.array_equal(image.numpy().transpose(1, 2, 0)[..., ::-1], rgb)


def test_an_image_in_the_record_is_taken_instead_of_the_file(record):
    cfg = _cfg()
    cfg.INPUT.MIN_SIZE_TEST = 0
    image = np.random.default_rng(1).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    given = {**record, "file_name": "nowhere.png", "image": image}
    sample = BCCDDatasetMapper(cfg, is_train=False)(given)
    assert np.array_equal(sample["image"].numpy().transpose(1, 2, 0), image)
    assert given["image"] is image
    with pytest.raises(ValueError, match=r"nowhere\.png"):
        BCCDDatasetMapper(cfg, is_train=False)({**given, "image": image[1:]})


def test_a_sample_never_shares_memory_with_its_image(record):
    cfg = get_bccd_cfg()
    cfg.INPUT.FORMAT = "L"  # one channel: its CHW and HWC layouts are the same bytes
    cfg.INPUT.MIN_SIZE_TEST = 0
    image = np.zeros((HEIGHT, WIDTH, 1), np.uint8)
    sample = BCCDDatasetMapper(cfg, is_train=False)({**record, "image": image})
    sample["image"][:] = 1
    assert not image.any()


def test_unlabelled_classes_come_with_the_instances(record):
    cfg = _cfg()
    assert "unlabelled" not in BCCDDatasetMapper(cfg, is_train=True)(record)
    cfg.INPUT.UNLABELLED_IF_ABSENT = ("RBC", "Platelets")  # the record has RBC and WBC
    for arguments in ({"is_train": True}, {"is_train": False, "keep_annotations": True}):
        sample = BCCDDatasetMapper(cfg, **arguments)(record)
        assert torch.equal(sample["unlabelled"], torch.tensor([False, False, True]))
    assert "unlabelled" not in BCCDDatasetMapper(cfg, is_train=False)(record)


def test_a_missing_image_is_named(record):
    record["file_name"] = "nowhere/cells.png"
    with pytest.raises(FileNotFoundError, match=r"nowhere/cells\.png.*DETECTRON2_DATASETS"):
        BCCDDatasetMapper(_cfg(), is_train=True)(record)


@pytest.mark.parametrize("content", ["truncated", "text", "empty"])
def test_a_broken_image_is_named(tmp_path, record, content):
    whole = (tmp_path / "cells.png").read_bytes()
    contents = {"truncated": whole[: len(whole) // 2], "text": b"no image", "empty": b""}
    (tmp_path / "cells.png").write_bytes(contents[content])
    with pytest.raises(ValueError, match=r"cells\.png cannot be read"):
        BCCDDatasetMapper(_cfg(), is_train=True)(record)


def test_a_size_mismatch_is_named(record):
    record["width"] += 1
    with pytest.raises(ValueError, match=r"cells\.png"):
        BCCDDatasetMapper(_cfg(), is_train=True)(record)


def test_a_size_mismatch_by_exif_is_told_as_that(record):
    image = Image.open(record["file_name"])
    exif = image.getexif()
    exif[0x0112] = 8
    image.save(record["file_name"], exif=exif)
    with pytest.raises(ValueError, match=r"cells\.png.*EXIF orientation.*exiftool"):
        BCCDDatasetMapper(_cfg(), is_train=True)(record)
