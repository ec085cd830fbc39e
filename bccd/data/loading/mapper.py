"""From a dataset record to what a model reads."""

from collections.abc import Sequence
from contextlib import contextmanager

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import DatasetMapper
from detectron2.data import transforms as T
from detectron2.data.detection_utils import (
    SizeMismatchError,
    annotations_to_instances,
    check_image_size,
    filter_empty_instances,
)

from bccd.data.images.decoding import explain_turn
from bccd.data.images.reading import ImageReader
from bccd.data.record_boxes import xyxy_boxes
from bccd.data.records import model_class_names
from bccd.data.transforms.augmentation import build_augmentations
from bccd.data.transforms.cutting import cut_annotations
from bccd.data.unlabelled import class_ids, mark_unlabelled


class BCCDDatasetMapper(DatasetMapper):
    """Detectron2's mapper with this project's augmentations, crop rule and per-sample seed.

    If a record holds ``sample_seed``, a sequence of ints in [0, 2**32), the augmentations depend on
    this seed only, and the state of the global ``np.random`` is restored. If a record holds
    ``image`` (H, W, C) uint8 of the record's size, the file is not read.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        augmentations: list[T.Augmentation],
        image_format: str,
        min_box_area: float,
        unlabelled_if_absent: Sequence[int] = (),
        num_classes: int = 0,
        keep_annotations: bool = False,
    ) -> None:
        """Args:
        is_train: give ``instances`` with every image.
        augmentations: applied in this order.
        image_format: INPUT.FORMAT: "BGR" or another that Detectron2 knows.
        min_box_area: a box is dropped when less than this share of its area is left
            inside the augmented image.
        unlabelled_if_absent, num_classes: see :func:`mark_unlabelled`.
        keep_annotations: also give ``instances`` when not training, to compute losses.
        """
        super().__init__(is_train, augmentations=augmentations, image_format=image_format)
        self.is_train = is_train or keep_annotations  # from here on: whether to give instances
        self.min_box_area = min_box_area
        self.unlabelled_if_absent, self.num_classes = unlabelled_if_absent, num_classes
        self.read = ImageReader(image_format)

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True, scale: float = 1.0) -> dict:
        """Arguments from ``cfg.INPUT``, the sizes of training multiplied by ``scale``."""
        class_names = model_class_names(cfg)
        return {
            "is_train": is_train,
            "augmentations": build_augmentations(cfg, is_train, scale),
            "image_format": cfg.INPUT.FORMAT,
            "min_box_area": cfg.INPUT.CROP.MIN_BOX_AREA,
            "unlabelled_if_absent": class_ids(
                cfg.INPUT.UNLABELLED_IF_ABSENT, "INPUT.UNLABELLED_IF_ABSENT", class_names
            ),
            "num_classes": len(class_names),
        }

    def __call__(self, dataset_dict: dict) -> dict:
        """Read, augment and convert one record, which is left unchanged.

        Args:
            dataset_dict: a record in Detectron2's format, with or without ``sample_seed``
                and ``image``.

        Returns:
            dict: the record with ``image`` (C, H, W) uint8 tensor and, when training, ``instances``
            with ``gt_boxes`` (M, 4) XYXY in pixels and ``gt_classes`` (M,), M possibly 0, and
            ``unlabelled`` (K,) bool tensor if there are classes that can be unlabelled: those whose
            absence from ``instances`` says nothing about the image.

        Raises:
            FileNotFoundError: the image is not there.
            ValueError: the image cannot be decoded, or its size is not the record's.
        """
        record = {"annotations": [], **dataset_dict}
        image = record.pop("image", None)
        if image is None:
            image = self._read(record)
        check_image_size(record, image)
        # Augmentations get a copy of what a reader keeps: PyTorch warns of a read-only array.
        augmented = T.AugInput(np.require(image, requirements="W"))
        with _numpy_seed(record.pop("sample_seed", None)):
            transforms = self.augmentations(augmented)
        # A copy always, so that the sample shares no memory with an image that was given.
        record["image"] = torch.from_numpy(np.array(augmented.image.transpose(2, 0, 1), order="C"))
        if not self.is_train:
            del record["annotations"]
            return record
        record = mark_unlabelled(record, self.unlabelled_if_absent, self.num_classes)
        self._transform_annotations(record, transforms, augmented.image.shape[:2])
        return record

    def _read(self, record):
        """The image of a record; where EXIF turns it away from the record's size, that is said."""
        image = self.read(record["file_name"])
        try:
            check_image_size(record, image)
        except SizeMismatchError as error:
            reason = explain_turn(record["file_name"], record["width"], record["height"])
            raise SizeMismatchError(f"{error}{reason}") from None
        return image

    def _transform_annotations(self, dataset_dict, transforms, image_shape):
        # All boxes at once: Detectron2's way, one by one, takes as long as the pixels do.
        annotations = [a for a in dataset_dict.pop("annotations") if not a.get("iscrowd", 0)]
        boxes = transforms.apply_box(xyxy_boxes(annotations))
        limits = (0, 0, *image_shape[::-1])
        annotations = cut_annotations(annotations, boxes, limits, self.min_box_area)
        instances = annotations_to_instances(annotations, image_shape)
        dataset_dict["instances"] = filter_empty_instances(instances)


@contextmanager
def _numpy_seed(seed):
    """Seed the global ``np.random`` inside the block only; ``None`` changes nothing."""
    if seed is None:
        yield
        return
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(state)
