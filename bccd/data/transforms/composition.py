"""Composition of training images: mosaics and pasted cells.

It works on the pixels and boxes of whole images, before the augmentations of the mapper.
"""

from collections.abc import Callable, Sequence

import numpy as np
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetFromList

from bccd.data.images.reading import ImageReader
from bccd.data.records import model_class_names
from bccd.data.transforms.copy_paste import CopyPaste
from bccd.data.transforms.mosaic import Mosaic
from bccd.data.unlabelled import class_ids, mark_unlabelled


class Composer:
    """Maps an index of ``records``, a progress and a random generator to a record with its image.

    ``Composer(cfg, records)`` reads INPUT.{FORMAT,MOSAIC,COPY_PASTE,UNLABELLED_IF_ABSENT,
    CROP.MIN_BOX_AREA} and DATALOADER.CACHE_MB.
    """

    @configurable
    def __init__(
        self,
        records: list[dict],
        *,
        read: Callable[[str], np.ndarray],
        mosaic: Mosaic | None = None,
        mosaic_prob: float = 1.0,
        mosaic_until: float = 1.0,
        copy_paste: CopyPaste | None = None,
        copy_paste_prob: float = 1.0,
        unlabelled_if_absent: Sequence[int] = (),
        num_classes: int = 0,
    ) -> None:
        """Args:
        records (list[dict]): training records in Detectron2's format.
        read (callable): file name -> image (H, W, C) uint8.
        mosaic (callable or None), mosaic_prob, mosaic_until (float): see :class:`Mosaic`, the
            share of the samples that become one, and the progress from which on none does.
        copy_paste (callable or None), copy_paste_prob (float): see :class:`CopyPaste`.
        unlabelled_if_absent (sequence[int]), num_classes (int): see :func:`mark_unlabelled`.
        """
        self.records = DatasetFromList(records, copy=False)
        self.read = read
        self.mosaic = mosaic
        self.mosaic_prob = mosaic_prob
        self.mosaic_until = mosaic_until
        self.copy_paste = copy_paste
        self.copy_paste_prob = copy_paste_prob
        self.unlabelled_if_absent, self.num_classes = unlabelled_if_absent, num_classes

    @classmethod
    def from_config(cls, cfg: CfgNode, records: list[dict]) -> dict:
        """Arguments from ``cfg``; ValueError names a key whose value is out of range."""
        mosaic, paste = cfg.INPUT.MOSAIC, cfg.INPUT.COPY_PASTE
        check_shares(cfg, "INPUT.MOSAIC.PROB", "INPUT.MOSAIC.UNTIL", "INPUT.COPY_PASTE.PROB")
        read = ImageReader(cfg.INPUT.FORMAT, cfg.DATALOADER.CACHE_MB * 2**20)
        class_names, copy_paste = model_class_names(cfg), None
        if paste.ENABLED:
            classes = class_ids(paste.CLASSES, "INPUT.COPY_PASTE.CLASSES", class_names)
            if classes or not paste.CLASSES:  # none at all is an error, none of the model's is not
                copy_paste = CopyPaste(records, read, classes=classes, max_pastes=paste.MAX_PASTES)
        return {
            "records": records,
            "read": read,
            "mosaic": Mosaic(min_box_area=cfg.INPUT.CROP.MIN_BOX_AREA) if mosaic.ENABLED else None,
            "mosaic_prob": mosaic.PROB,
            "mosaic_until": mosaic.UNTIL,
            "copy_paste": copy_paste,
            "copy_paste_prob": paste.PROB,
            "unlabelled_if_absent": class_ids(
                cfg.INPUT.UNLABELLED_IF_ABSENT, "INPUT.UNLABELLED_IF_ABSENT", class_names
            ),
            "num_classes": len(class_names),
        }

    def __call__(self, index: int, progress: float, rng: np.random.Generator) -> dict:
        """Compose one sample.

        Args:
            index (int): of the record that the sample is named after.
            progress (float): share of the training that is behind, 0 at its start.
            rng (np.random.Generator): where all chance comes from.

        Returns:
            dict: the record with ``image`` (H, W, C) uint8, possibly read-only, the annotations of
            what is now in it, and ``unlabelled`` (K,) bool where that is asked for.

        Raises:
            FileNotFoundError, ValueError: an image cannot be read.
        """
        record = self._load(index)
        if self.mosaic and progress < self.mosaic_until and rng.random() < self.mosaic_prob:
            others = rng.integers(len(self.records), size=3).tolist()
            record = self._mosaic([record, *map(self._load, others)], rng)
        if self.copy_paste and rng.random() < self.copy_paste_prob:
            image, annotations = self.copy_paste(record["image"], record["annotations"], rng)
            record = {**record, "image": image, "annotations": annotations}
        return record

    def _load(self, index):
        record = {"annotations": [], **self.records[index]}
        record["image"] = self.read(record["file_name"])
        return mark_unlabelled(record, self.unlabelled_if_absent, self.num_classes)

    def _mosaic(self, parts, rng):
        image, annotations = self.mosaic([(p["image"], p["annotations"]) for p in parts], rng)
        record = {**parts[0], "image": image, "annotations": annotations}
        if self.unlabelled_if_absent:
            record["unlabelled"] = sum(part["unlabelled"] for part in parts) > 0
        return record


def check_shares(cfg: CfgNode, *keys: str) -> None:
    """ValueError for a key such as ``INPUT.MOSAIC.PROB`` whose value is not in [0, 1]."""
    for key in keys:
        value = cfg
        for name in key.split("."):
            value = value[name]
        if not 0 <= value <= 1:
            raise ValueError(f"{key} is {value}; use a share from 0 to 1")
