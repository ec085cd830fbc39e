"""A trained detector in PyTorch, from an image to detections."""

import hashlib

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import Metadata
from detectron2.data import transforms as T
from detectron2.utils.file_io import PathManager

from bccd.data.classes import class_colors
from bccd.data.transforms.augmentation import build_augmentations
from bccd.detections import Detections
from bccd.engine.allocator import keep_freed_memory
from bccd.engine.checkpoint import with_checkpoint_classes
from bccd.engine.trained_detector import load_prepared
from bccd.evaluation.operating_point import configured_thresholds
from bccd.export.magnification import (
    ONE_FIELD,
    PYTORCH_FIELDS,
    Magnification,
    with_margin,
    without_margin,
)
from bccd.model_zoo import PREFIX, load_card, sha256
from bccd.modeling.capabilities import has_fixed_number
from bccd.modeling.tta import with_tta


class Predictor:
    """Detectron2's DefaultPredictor for any device, with the project's loading and resizing.

    ``predictor(image)`` is ``detect(prepare(image))``; ``prepare`` may run in another thread.

    Attributes:
        model: nn.Module in eval mode.
        class_names: of the K classes.
        class_colors: RGB, 0-255, of each.
        metadata: ``thing_classes`` and ``thing_colors``, for Detectron2's Visualizer.
        operating_points: {class name: score threshold} or None, see :func:`load_for_inference`.
        counting_thresholds: COUNTING.THRESHOLDS in the same form; None where it is empty, or where
            TEST.OPERATING_POINTS states others.
        count_intervals: COUNTING.INTERVALS as a dict, of those thresholds.
        identity (str): of the config and the bytes of the weights; equal ones detect the same.
        field_size: (height, width) of the images it was trained on, or ().
        max_detections (int or None): the most that it gives for an image.
        magnification (Magnification or None): at which it knows cells; None: unknown, or the model
            looks at several (test-time augmentation).
    """

    def __init__(self, cfg: CfgNode) -> None:
        """``cfg``: its MODEL.WEIGHTS names a checkpoint; raises as the loading does."""
        self.field_size = tuple(cfg.INPUT.FIELD_SIZE)
        if len(self.field_size) not in (0, 2):
            raise ValueError(f"INPUT.FIELD_SIZE is {self.field_size}; use (height, width) or ()")
        keep_freed_memory()
        cfg = with_checkpoint_classes(cfg)
        self.model, self.operating_points = load_prepared(cfg)
        weights = PathManager.get_local_path(cfg.MODEL.WEIGHTS)
        self.identity = hashlib.sha256((sha256(weights) + cfg.dump()).encode()).hexdigest()
        self.model, cfg = with_tta(self.model, cfg)
        self.class_names = tuple(cfg.MODEL.CLASS_NAMES)
        self.class_colors = class_colors(self.class_names, cfg.MODEL.CLASS_COLORS)
        # Not a data set's, whose classes may be in another order than the model's.
        self.metadata = Metadata(
            thing_classes=list(self.class_names), thing_colors=list(self.class_colors)
        )
        self.augmentations = T.AugmentationList(build_augmentations(cfg, False))
        self.input_format = cfg.INPUT.FORMAT
        self._mean_color = cfg.MODEL.PIXEL_MEAN[:: -1 if self.input_format == "RGB" else 1]
        most = getattr(self.model, "max_detections", cfg.TEST.DETECTIONS_PER_IMAGE)
        self.max_detections = most if most >= 0 else None
        self.magnification = None if cfg.TEST.AUG.ENABLED else self._find_magnification(cfg)
        counting = _counting_config(cfg)
        self.counting_thresholds = configured_thresholds(
            counting.get("THRESHOLDS", ()), self.class_names, "COUNTING.THRESHOLDS"
        )
        self.count_intervals = dict(counting.get("INTERVALS", {}))

    def _find_magnification(self, cfg):
        grows = hasattr(self.model, "capacity")
        return Magnification.of(
            self.class_names,
            cfg.COUNTING.RED_CELL_DIAMETER,
            self.field_size,
            (cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST),
            cfg.INPUT.FIXED_SIZE,
            PYTORCH_FIELDS if grows else ONE_FIELD,
            cfg.COUNTING.EXPECTED_DIAMETER,
            has_fixed_number=has_fixed_number(self.model),
        )

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect.

        Args:
            image: (H, W, 3) uint8, BGR.

        Returns:
            boxes in pixels of ``image``.

        Raises:
            ValueError: another shape or type.
        """
        return self.detect(self.prepare(image))

    def prepare(self, image: np.ndarray) -> dict:
        """What the model takes, of an image as ``__call__`` takes it; raises as that does.

        Returns:
            "image" resized (3, h, w), "height" and "width" of ``image``.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected a uint8 image (H, W, 3), got {image.dtype} {image.shape}")
        height, width = image.shape[:2]
        inputs = T.AugInput(image)
        self.augmentations(inputs)
        return {"image": self._to_tensor(inputs.image), "height": height, "width": width}

    def detect_resized(self, image: np.ndarray) -> Detections:
        """Detect in an image that has the size that the model shall see.

        Args:
            image: (h, w, 3) uint8, BGR. Of one that is larger than the fields of the
                training, the model gives as many more detections, where it can.

        Returns:
            boxes in pixels of ``image``.
        """
        size = image.shape[:2]
        image = with_margin(image, self._mean_color)
        height, width = image.shape[:2]
        inputs = {"image": self._to_tensor(image), "height": height, "width": width}
        if not hasattr(self.model, "capacity"):
            return without_margin(self.detect(inputs), size)
        self.model.capacity = self._capacity(*size)
        try:
            return without_margin(self.detect(inputs), size)
        finally:  # other images are as large as those of the training
            self.model.capacity = 1.0

    def detection_limit(self, height: int, width: int) -> int | None:
        """The most detections that ``detect_resized`` gives for an image of this size; None: any.

        Args:
            height, width: in pixels.
        """
        if self.max_detections is None or not hasattr(self.model, "capacity"):
            return self.max_detections
        return round(self.max_detections * self._capacity(height, width))

    def _capacity(self, height, width):
        return max(1.0, height * width / self.magnification.field_pixels)

    def _to_tensor(self, image):
        if self.input_format == "RGB":
            image = image[:, :, ::-1]
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))

    def detect(self, inputs: dict) -> Detections:
        """Detect in what ``prepare`` returned; returns as ``__call__``."""
        with torch.no_grad():
            outputs = self.model([inputs])
        return Detections.from_instances(outputs[0]["instances"].to("cpu"))


def _counting_config(cfg):
    """COUNTING, or that of a shipped model where another config is used with its weights."""
    stated, weights = cfg.COUNTING, cfg.MODEL.WEIGHTS
    if cfg.TEST.OPERATING_POINTS:
        return {}
    if not stated.THRESHOLDS and weights.startswith(PREFIX):
        return load_card(weights.removeprefix(PREFIX))["config"]["COUNTING"]
    return stated
