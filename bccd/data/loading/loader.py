"""Data loaders whose content depends on the seed and the position alone.

Sample ``p`` of a training is item ``p % n`` of epoch ``p // n``'s permutation of the ``n`` images,
composed and augmented with random numbers seeded by ``(seed, p)``. A training therefore gets the
same samples with any number of workers and processes, and a resumed one gets those that it would
have got without the interruption. INPUT.LOW_RESOLUTION and INPUT.MOSAIC end between two batches, at
a share of all the samples that ``cfg`` trains with. Another SOLVER.MAX_ITER moves this end.
"""

import logging
from collections.abc import Callable, Iterator

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.data.build import (
    filter_images_with_only_crowd_annotations,
    print_instances_class_histogram,
    trivial_batch_collator,
)
from detectron2.utils import comm
from torch.utils.data import DataLoader, Dataset

from bccd.data.loading.mapper import BCCDDatasetMapper
from bccd.data.records import load_records, model_class_names
from bccd.data.transforms.composition import Composer, check_shares

logger = logging.getLogger(__name__)


class TrainingBatches:
    """Endless batches of ``(position, index)`` pairs, the part of one process of every batch."""

    def __init__(
        self,
        size: int,
        batch_size: int,
        *,
        seed: int,
        start_position: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """Args:
        size: number of images ``n``.
        batch_size: images per batch, of all processes together.
        seed: at least 0, the same in all processes.
        start_position: position of the first sample.
        rank, world_size: this process and the number of processes.

        Raises:
            ValueError: no images, or a batch that the processes cannot share evenly.
        """
        if size == 0:
            raise ValueError("there is no training image; check DATASETS.TRAIN")
        if batch_size < 1 or batch_size % world_size:
            raise ValueError(
                f"SOLVER.IMS_PER_BATCH {batch_size} must be a multiple of {world_size} processes"
            )
        self.size = size
        self.batch_size = batch_size
        self.seed = seed
        self.start_position = start_position
        share = batch_size // world_size
        self.slice = range(rank * share, (rank + 1) * share)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        first = self.start_position
        epoch, order = -1, None
        while True:
            batch = []
            for position in (first + offset for offset in self.slice):
                if position // self.size != epoch:
                    epoch = position // self.size
                    order = np.random.default_rng((self.seed, epoch)).permutation(self.size)
                batch.append((position, int(order[position % self.size])))
            yield batch
            first += self.batch_size


class TrainingSamples(Dataset):
    """Maps ``(position, index)`` to a sample of record ``index``, drawn by seed and position."""

    def __init__(
        self,
        compose: Callable[[int, float, np.random.Generator], dict],
        mapper: Callable[[dict], dict],
        seed: int,
        *,
        length: int,
        batch_size: int = 1,
        early_mapper: Callable[[dict], dict] | None = None,
        early_until: float = 0.0,
    ) -> None:
        """Args:
        compose: (index, progress, generator) -> record, as :class:`Composer`.
        mapper: record with ``sample_seed`` -> sample.
        seed: at least 0.
        length: samples of the whole training.
        batch_size: samples that share one progress: the first one's position / length.
        early_mapper: used instead of ``mapper`` below the progress
            ``early_until``.
        """
        self.compose = compose
        self.mapper = mapper
        self.seed = seed
        self.length = length
        self.batch_size = batch_size
        self.early_mapper = early_mapper
        self.early_until = early_until if early_mapper else 0.0

    def __getitem__(self, position_and_index: tuple[int, int]) -> dict:
        position, index = position_and_index
        progress = (position - position % self.batch_size) / self.length
        # The 1 keeps this generator apart from the one that orders the epoch of this number.
        record = self.compose(index, progress, np.random.default_rng((self.seed, position, 1)))
        mapper = self.early_mapper if progress < self.early_until else self.mapper
        return mapper({**record, "sample_seed": (self.seed, position)})


def _training_samples(cfg, records, seed):
    solver, low = cfg.SOLVER, cfg.INPUT.LOW_RESOLUTION
    check_shares(cfg, "INPUT.LOW_RESOLUTION.UNTIL")
    early_mapper = None
    if low.ENABLED:
        early_mapper = BCCDDatasetMapper(cfg, is_train=True, scale=low.SCALE)
    return TrainingSamples(
        Composer(cfg, records),
        BCCDDatasetMapper(cfg, is_train=True),
        seed,
        length=max(solver.MAX_ITER * solver.IMS_PER_BATCH * solver.ACCUMULATE, 1),
        batch_size=solver.IMS_PER_BATCH,
        early_mapper=early_mapper,
        early_until=low.UNTIL,
    )


def build_train_loader(
    cfg: CfgNode, start_position: int = 0, *, seed: int | None = None
) -> DataLoader:
    """An endless loader of this process's share of every batch.

    Args:
        cfg: DATASETS.TRAIN, DATALOADER.{NUM_WORKERS,FILTER_EMPTY_ANNOTATIONS,CACHE_MB},
            INPUT, SOLVER.{IMS_PER_BATCH,ACCUMULATE,MAX_ITER} and SEED are read; images are not
            grouped by aspect ratio.
        start_position: samples that earlier runs have used, all processes together.
        seed: replaces ``cfg.SEED``. Where both are missing (None, negative), one is
            drawn that all processes share; they must then all call this function.

    Returns:
        DataLoader: of ``list[dict]``, each as :class:`BCCDDatasetMapper` gives it.

    Raises:
        ValueError: DATASETS.TRAIN is empty, or one of them cannot be trained on (no image, no box,
            other classes: see :func:`.load_records`), IMS_PER_BATCH cannot be shared by the
            processes, DATALOADER.SAMPLER_TRAIN asks for another order, or a key of INPUT has a
            value that it cannot take.
    """
    if cfg.DATALOADER.SAMPLER_TRAIN != "TrainingSampler":
        raise ValueError(
            f"DATALOADER.SAMPLER_TRAIN {cfg.DATALOADER.SAMPLER_TRAIN} is not supported; "
            "use TrainingSampler"
        )
    if not cfg.DATASETS.TRAIN:
        raise ValueError("DATASETS.TRAIN is empty; name a registered dataset")
    if seed is None:
        seed = cfg.SEED if cfg.SEED >= 0 else comm.shared_random_seed()
    records = _training_records(cfg)
    batches = TrainingBatches(
        len(records),
        cfg.SOLVER.IMS_PER_BATCH,
        seed=seed,
        start_position=start_position,
        rank=comm.get_rank(),
        world_size=comm.get_world_size(),
    )
    return DataLoader(
        _training_samples(cfg, records, seed),
        batch_sampler=batches,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        collate_fn=trivial_batch_collator,
        generator=torch.Generator(),
    )


def _training_records(cfg):
    """Those of all DATASETS.TRAIN, with a word about their classes."""
    class_names = model_class_names(cfg)
    records = [
        record
        for name in cfg.DATASETS.TRAIN
        for record in load_records(name, class_names, need_boxes=True)
    ]
    _warn_of_classes_without_boxes(records, class_names)
    if cfg.DATALOADER.FILTER_EMPTY_ANNOTATIONS:
        records = filter_images_with_only_crowd_annotations(records)
    print_instances_class_histogram(records, list(class_names))
    return records


def _warn_of_classes_without_boxes(records, class_names):
    annotated = {a["category_id"] for r in records for a in r["annotations"] if not a["iscrowd"]}
    absent = [name for k, name in enumerate(class_names) if k not in annotated]
    if absent:
        logger.warning(
            f"no training image has a box of {', '.join(absent)}, which the model therefore cannot "
            "learn. If that is no class, name the others in MODEL.CLASS_NAMES"
        )


def build_test_loader(cfg: CfgNode, dataset_name: str) -> DataLoader:
    """Every image of ``dataset_name`` once, one per batch, each process a contiguous share."""
    return _in_order(cfg, dataset_name, BCCDDatasetMapper(cfg, is_train=False))


def build_val_loss_loader(cfg: CfgNode, dataset_name: str) -> DataLoader:
    """:func:`build_test_loader` whose records also hold ``instances``, for the losses."""
    mapper = BCCDDatasetMapper(cfg, is_train=False, keep_annotations=True)
    return _in_order(cfg, dataset_name, mapper)


def _in_order(cfg, dataset_name, mapper):
    loader = build_detection_test_loader(
        load_records(dataset_name, model_class_names(cfg)),
        mapper=mapper,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    # A DataLoader draws its workers' seed from torch's global generator; an evaluation must not
    # change the random numbers of the training around it.
    loader.generator = torch.Generator()
    return loader
