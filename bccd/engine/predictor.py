"""A trained detector, ready for images."""

import hashlib

import numpy as np
import torch
from detectron2.data import Metadata
from detectron2.data import transforms as T
from detectron2.modeling import build_model
from detectron2.utils.file_io import PathManager

from bccd.data.classes import class_colors
from bccd.data.transforms.augmentation import build_augmentations
from bccd.detections import Detections
from bccd.engine.allocator import keep_freed_memory
from bccd.engine.checkpoint import (
    BCCDCheckpointer,
    weights_to_evaluate,
    with_checkpoint_classes,
)
from bccd.engine.checkpoint_classes import CheckpointClasses
from bccd.engine.classes import check_class_count
from bccd.engine.setup import available_device
from bccd.evaluation.operating_point import (
    configured_thresholds,
    match_thresholds,
    thresholds,
)
from bccd.model_zoo import sha256
from bccd.modeling.fast_inference.prepare import prepare_for_inference
from bccd.modeling.tta import with_tta


def load_for_inference(cfg, *, resume=False):
    """Build the model of ``cfg`` with trained weights.

    Args:
        cfg (CfgNode): MODEL.WEIGHTS names the checkpoint.
        resume (bool): take the last checkpoint of OUTPUT_DIR, if there is one, instead.

    Returns:
        (nn.Module in eval mode, {class name: score threshold} or None): the thresholds are
        TEST.OPERATING_POINTS or, where that is empty, those in the checkpoint.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: MODEL.WEIGHTS is empty, the checkpoint does not fit the model or has other
            classes, or TEST.OPERATING_POINTS does not fit them.
    """
    if not weights_to_evaluate(cfg, resume=resume):
        raise ValueError("MODEL.WEIGHTS is empty; name the checkpoint to use")
    cfg = with_checkpoint_classes(cfg, resume=resume)
    cfg.MODEL.DEVICE = available_device(cfg.MODEL.DEVICE)
    class_names = tuple(cfg.MODEL.CLASS_NAMES)
    configured = class_names and configured_thresholds(cfg.TEST.OPERATING_POINTS, class_names)
    model = build_model(cfg)
    check_class_count(model, class_names)
    classes = CheckpointClasses(cfg, model)
    checkpointer = BCCDCheckpointer(model, cfg.OUTPUT_DIR, require_all=True, classes=classes)
    rest = checkpointer.resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    model.eval()
    points = rest.get("operating_points")
    if configured or not points:
        return model, configured
    return model, match_thresholds(thresholds(points), class_names, "the checkpoint")


def load_prepared(cfg, *, resume=False):
    """As :func:`load_for_inference`, the model made faster as ``cfg.INFERENCE`` says."""
    model, points = load_for_inference(cfg, resume=resume)
    return prepare_for_inference(model, cfg.INFERENCE), points


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
