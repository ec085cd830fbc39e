"""A trained detector in PyTorch, from an image to detections."""

import hashlib

import numpy as np
import torch
from detectron2.data import Metadata
from detectron2.data import transforms as T
from detectron2.utils.file_io import PathManager

from bccd.data.classes import class_colors
from bccd.data.transforms.augmentation import build_augmentations
from bccd.detections import Detections
from bccd.engine.allocator import keep_freed_memory
from bccd.engine.checkpoint import with_checkpoint_classes
from bccd.engine.trained_detector import load_prepared
from bccd.model_zoo import sha256
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
        identity (str): of the config and the bytes of the weights; equal ones detect the same.
        field_size: (height, width) of the images it was trained on, or ().
        max_detections (int or None): the most that it gives for an image.
    """

    def __init__(self, cfg):
        """``cfg``: CfgNode whose MODEL.WEIGHTS names a checkpoint; raises as the loading does."""
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
        most = getattr(self.model, "max_detections", cfg.TEST.DETECTIONS_PER_IMAGE)
        self.max_detections = most if most >= 0 else None

    def __call__(self, image):
        """Detect.

        Args:
            image (np.ndarray): (H, W, 3) uint8, BGR.

        Returns:
            Detections, boxes in pixels of ``image``.

        Raises:
            ValueError: another shape or type.
        """
        return self.detect(self.prepare(image))

    def prepare(self, image):
        """What the model takes, of an image as ``__call__`` takes it; raises as that does.

        Returns:
            dict: "image" resized (3, h, w), "height" and "width" of ``image``.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"expected a uint8 image (H, W, 3), got {image.dtype} {image.shape}")
        height, width = image.shape[:2]
        if self.input_format == "RGB":
            image = image[:, :, ::-1]
        inputs = T.AugInput(image)
        self.augmentations(inputs)
        tensor = torch.from_numpy(np.ascontiguousarray(inputs.image.transpose(2, 0, 1)))
        return {"image": tensor, "height": height, "width": width}

    def detect(self, inputs):
        """Detect in what ``prepare`` returned; returns as ``__call__``."""
        with torch.no_grad():
            outputs = self.model([inputs])
        return Detections.from_instances(outputs[0]["instances"].to("cpu"))
