from itertools import islice

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode as CN
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.utils import comm
from hypothesis import given
from hypothesis import strategies as st

from bccd.config import get_bccd_cfg
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.loading.loader import (
    TrainingBatches,
    build_test_loader,
    build_train_loader,
    build_val_loss_loader,
)
from bccd.data.synthetic import load_smears

NAME, IMAGES = "test_loader_smears", 7


@pytest.fixture(scope="module", autouse=True)
def _smears(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FVCORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        DatasetCatalog.register(NAME, lambda: load_smears(IMAGES, seed=1, height=30, width=40))
        MetadataCatalog.get(NAME).set(thing_classes=list(CLASS_NAMES))
        yield
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


@pytest.fixture
def loader_cfg():
    cfg = get_bccd_cfg()
    cfg.SEED = 5
    cfg.DATASETS.TRAIN = (NAME,)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.INPUT.MIN_SIZE_TRAIN = (30, 36)
    cfg.INPUT.MIN_SIZE_TEST = 30
    cfg.INPUT.CROP.ENABLED = True
    cfg.INPUT.ROTATE90 = True
    cfg.INPUT.PHOTOMETRIC.ENABLED = True
    cfg.INPUT.PHOTOMETRIC.NOISE_STD = 10.0
    # The training ends with the 5th batch; what changes on the way does so inside the 2nd and 4th.
    cfg.SOLVER.MAX_ITER = 5
    cfg.INPUT.LOW_RESOLUTION = CN({"ENABLED": True, "SCALE": 0.5, "UNTIL": 0.3})
    cfg.INPUT.MOSAIC = CN({"ENABLED": True, "PROB": 0.5, "UNTIL": 0.7})
    cfg.INPUT.COPY_PASTE.ENABLED = True
    cfg.INPUT.COPY_PASTE.CLASSES = ("RBC",)
    return cfg


def _content(batch):
    """What a model sees of a batch, comparable with ==."""
    return [
        (sample["image_id"], sample["image"].tolist(), sample["instances"].gt_boxes.tensor.tolist())
        for sample in batch
    ]


def _take(cfg, count, **kwargs):
    return [_content(batch) for batch in islice(build_train_loader(cfg, **kwargs), count)]


def _as_process(monkeypatch, rank, world_size):
    monkeypatch.setattr(comm, "get_rank", lambda: rank)
    monkeypatch.setattr(comm, "get_world_size", lambda: world_size)


def test_workers_do_not_change_the_batches(loader_cfg):
    expected = _take(loader_cfg, 4)
    loader_cfg.DATALOADER.NUM_WORKERS = 2
    assert _take(loader_cfg, 4) == expected


def test_a_resumed_loader_goes_on_where_it_was_stopped(loader_cfg):
    expected = _take(loader_cfg, 6)
    assert _take(loader_cfg, 3, start_position=3 * 4) == expected[3:]


def test_processes_share_the_batches_of_one(loader_cfg, monkeypatch):
    expected = _take(loader_cfg, 4)
    for world_size in (2, 4):
        shares = []
        for rank in range(world_size):
            _as_process(monkeypatch, rank, world_size)
            shares.append(_take(loader_cfg, 4))
        joined = [[s for share in shares for s in share[i]] for i in range(4)]
        assert joined == expected


def test_seeds_differ_and_an_explicit_one_wins(loader_cfg):
    expected = _take(loader_cfg, 2)
    assert _take(loader_cfg, 2, seed=6) != expected
    loader_cfg.SEED = -1
    assert _take(loader_cfg, 2, seed=5) == expected


def test_without_a_seed_all_processes_get_the_drawn_one(loader_cfg, monkeypatch):
    expected = _take(loader_cfg, 2)
    loader_cfg.SEED = -1
    monkeypatch.setattr(comm, "shared_random_seed", lambda: 5)
    assert _take(loader_cfg, 2) == expected


def test_an_image_looks_different_in_every_epoch(loader_cfg):
    loader_cfg.SOLVER.IMS_PER_BATCH = IMAGES
    first, second = (dict((s[0], s[1]) for s in batch) for batch in _take(loader_cfg, 2))
    assert first.keys() == second.keys() == set(range(IMAGES))
    assert all(first[image_id] != second[image_id] for image_id in first)


def test_loading_leaves_global_chance_alone(loader_cfg):
    loader_cfg.DATASETS.TEST = (NAME,)
    numpy_before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()
    _take(loader_cfg, 2)
    list(build_test_loader(loader_cfg, NAME))
    list(build_val_loss_loader(loader_cfg, NAME))
    assert np.array_equal(np.random.get_state()[1], numpy_before)
    assert torch.equal(torch.get_rng_state(), torch_before)


def _sizes(cfg, count):
    batches = islice(build_train_loader(cfg), count)
    return [tuple(sample["image"].shape[1:]) for batch in batches for sample in batch]


def test_the_first_part_of_a_training_is_at_low_resolution(loader_cfg):
    loader_cfg.INPUT.FIXED_SIZE = (20, 28)
    # Batches of 4 that start in the first 0.3 of 5 * 4 samples.
    assert _sizes(loader_cfg, 6) == [(10, 14)] * 8 + [(20, 28)] * 16
    loader_cfg.SOLVER.ACCUMULATE = 2
    assert _sizes(loader_cfg, 6) == [(10, 14)] * 12 + [(20, 28)] * 12
    loader_cfg.INPUT.LOW_RESOLUTION.ENABLED = False
    assert _sizes(loader_cfg, 2) == [(20, 28)] * 8


def test_the_memory_of_images_does_not_change_the_batches(loader_cfg):
    expected = _take(loader_cfg, 4)
    for megabytes in (0, 0.01):
        loader_cfg.DATALOADER.CACHE_MB = megabytes
        assert _take(loader_cfg, 4) == expected


@given(
    size=st.integers(1, 12),
    share=st.integers(1, 5),
    world_size=st.integers(1, 4),
    start=st.integers(0, 60),
    seed=st.integers(0, 2**31),
)
def test_order_is_permutation_after_permutation(size, share, world_size, start, seed):
    def samples(world_size, start, count):
        processes = [
            islice(
                TrainingBatches(
                    size,
                    share * world_size,
                    seed=seed,
                    start_position=start,
                    rank=rank,
                    world_size=world_size,
                ),
                count,
            )
            for rank in range(world_size)
        ]
        return [pair for batches in zip(*processes, strict=True) for b in batches for pair in b]

    whole = samples(1, 0, -(-(start + 8 * share * world_size) // share))
    assert [position for position, _ in whole] == list(range(len(whole)))
    for epoch in range(len(whole) // size):
        items = [index for _, index in whole[epoch * size : (epoch + 1) * size]]
        assert sorted(items) == list(range(size))
    part = samples(world_size, start, 8)
    assert part == whole[start : start + len(part)]


def test_epochs_have_different_orders():
    batches = list(islice(TrainingBatches(50, 50, seed=1), 2))
    first, second = ([index for _, index in batch] for batch in batches)
    assert first != second and first != list(range(50))


def test_testing_reads_every_image_once_in_order(loader_cfg):
    plain = [sample for batch in build_test_loader(loader_cfg, NAME) for sample in batch]
    kept = [sample for batch in build_val_loss_loader(loader_cfg, NAME) for sample in batch]
    assert [s["image_id"] for s in plain] == [s["image_id"] for s in kept] == list(range(IMAGES))
    for record, without, sample in zip(DatasetCatalog.get(NAME), plain, kept, strict=True):
        assert "instances" not in without
        assert torch.equal(without["image"], sample["image"])
        assert sample["image"].shape == (3, 30, 40)
        boxes = [annotation["bbox"] for annotation in record["annotations"]]
        assert sample["instances"].gt_boxes.tensor.tolist() == boxes


def test_images_without_boxes_are_kept_unless_filtered(loader_cfg):
    records = load_smears(2, seed=1, height=30, width=40)
    records[1]["annotations"] = []
    DatasetCatalog.register("test_loader_empty", lambda: records)
    MetadataCatalog.get("test_loader_empty").set(thing_classes=list(CLASS_NAMES))
    loader_cfg.DATASETS.TRAIN = ("test_loader_empty",)
    loader_cfg.SOLVER.IMS_PER_BATCH = 2
    (batch,) = _take(loader_cfg, 1)
    assert {sample[0] for sample in batch} == {0, 1}
    loader_cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
    (batch,) = _take(loader_cfg, 1)
    assert {sample[0] for sample in batch} == {0}
    DatasetCatalog.remove("test_loader_empty")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["DATASETS.TRAIN", ()], "DATASETS.TRAIN"),
        (["DATALOADER.SAMPLER_TRAIN", "RepeatFactorTrainingSampler"], "SAMPLER_TRAIN"),
        (["INPUT.LOW_RESOLUTION.UNTIL", 1.1], "LOW_RESOLUTION.UNTIL is 1.1"),
        (["SOLVER.IMS_PER_BATCH", 3], "IMS_PER_BATCH 3 must be a multiple of 2"),
    ],
)
def test_a_config_it_cannot_follow_is_an_error(loader_cfg, monkeypatch, change, message):
    _as_process(monkeypatch, 0, 2)
    loader_cfg.merge_from_list(change)
    with pytest.raises(ValueError, match=message):
        build_train_loader(loader_cfg)


def test_no_image_is_an_error():
    with pytest.raises(ValueError, match="no training image"):
        TrainingBatches(0, 4, seed=0)


def test_workers_read_beside_an_evaluation_in_the_order_of_the_data_set(loader_cfg):
    loader_cfg.DATALOADER.NUM_WORKERS = 2
    loader = build_test_loader(loader_cfg, NAME)
    assert loader.num_workers == 2
    assert [sample["image_id"] for batch in loader for sample in batch] == list(range(IMAGES))
