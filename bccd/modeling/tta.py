"""Test-time augmentation: detect in several views of an image and merge what they show."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.data import transforms as T
from detectron2.structures import Boxes, Instances
from torch import Tensor, nn

from bccd.data.transforms.augmentation import build_augmentations
from bccd.data.transforms.geometry import Rotate90Transform
from bccd.modeling.box_fusion import non_maximum_suppression, weighted_box_fusion

_MERGES = {"wbf": weighted_box_fusion, "nms": non_maximum_suppression}


def with_tta(model: nn.Module, cfg: CfgNode) -> tuple[nn.Module, CfgNode]:
    """Wrap ``model`` as TEST.AUG says.

    Args:
        model: Detectron2's model contract, for inference.
        cfg: left unchanged.

    Returns:
        (model, config): as given where TEST.AUG is not enabled. Else the wrapped model and a config
        whose data loaders leave images at their original size, because the views are resized from
        it: a larger view has then more detail.

    Raises:
        ValueError: TEST.AUG has a value that cannot work.
    """
    if not cfg.TEST.AUG.ENABLED:
        return model, cfg
    model = DetectorWithTTA(cfg, model)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.FIXED_SIZE = 0, ()
    cfg.freeze()
    return model, cfg


class DetectorWithTTA(nn.Module):
    """Any detector, on resized, turned and flipped copies of each image.

    Where there is one view only, its detections are returned as they are.
    """

    @configurable
    def __init__(
        self,
        model: nn.Module,
        *,
        resizes: list[T.Augmentation],
        symmetries: list[tuple[int, bool]],
        merge: Callable[..., tuple[Tensor, Tensor, Tensor]],
        max_detections: int,
    ) -> None:
        """
        Args:
            model: list[dict] with ``image height width`` -> list of
                ``{"instances": Instances}`` with ``pred_boxes scores pred_classes``.
            resizes: each makes the size of one scale, from any image.
            symmetries: quarter turns counter-clockwise, then whether to
                flip horizontally; each is combined with each scale.
            merge: see :func:`weighted_box_fusion`, without its ``iou_threshold``.
            max_detections: merged detections kept in an image; negative: all.
        """
        super().__init__()
        self.model = model
        self.resizes = resizes
        self.symmetries = symmetries
        self.merge = merge
        self.max_detections = max_detections

    @classmethod
    def from_config(cls, cfg: CfgNode, model: nn.Module) -> dict[str, Any]:
        """Arguments from ``cfg.TEST``."""
        aug = cfg.TEST.AUG
        if aug.MERGE not in _MERGES:
            raise ValueError(f"TEST.AUG.MERGE is {aug.MERGE!r}; use one of {', '.join(_MERGES)}")
        if not 0 < aug.MERGE_IOU < 1:
            raise ValueError(f"TEST.AUG.MERGE_IOU is {aug.MERGE_IOU}; expected between 0 and 1")
        return {
            "model": model,
            "resizes": _resizes(cfg),
            "symmetries": _symmetries(aug.FLIP, aug.VERTICAL_FLIP, aug.ROTATE90),
            "merge": partial(_MERGES[aug.MERGE], iou_threshold=aug.MERGE_IOU),
            "max_detections": cfg.TEST.DETECTIONS_PER_IMAGE,
        }

    def forward(self, batched_inputs: list[dict]) -> list[dict]:
        """Detect.

        Args:
            batched_inputs: ``image`` (C, H, W), best at its original size, and the
                output size ``height``, ``width``, by default that of the image.

        Returns:
            list[dict] with ``instances`` in the output size, best score first.
        """
        return [{"instances": self._detect(inputs)} for inputs in batched_inputs]

    def _detect(self, inputs):
        image = inputs["image"].permute(1, 2, 0).numpy()
        size = inputs.get("height", image.shape[0]), inputs.get("width", image.shape[1])
        views, inverses = [], []
        for resize, (turns, flip) in product(self.resizes, self.symmetries):
            turned_size = size[::-1] if turns % 2 else size
            transforms = [Rotate90Transform(*size, turns)]
            if flip:
                transforms.append(T.HFlipTransform(turned_size[1]))
            symmetry = T.TransformList(transforms)
            views.append(_view(image, resize, symmetry, turned_size))
            inverses.append(symmetry.inverse())
        found = self._run(views)
        boxes = [
            _transform_boxes(inverse, instances.pred_boxes.tensor)
            for inverse, instances in zip(inverses, found, strict=True)
        ]
        return self._merge(boxes, found, size)

    def _run(self, views):
        """Instances of each view; those of one shape are a batch, so that none is padded."""
        by_shape = defaultdict(list)
        for index, view in enumerate(views):
            by_shape[view["image"].shape].append(index)
        found = {}
        for indices in by_shape.values():
            outputs = self.model([views[index] for index in indices])
            found.update(zip(indices, (output["instances"] for output in outputs), strict=True))
        return [found[index] for index in range(len(views))]

    def _merge(self, boxes, found, size):
        counts = torch.tensor([len(in_view) for in_view in boxes])
        boxes = torch.cat(boxes).float()
        scores = torch.cat([instances.scores for instances in found]).float()
        classes = torch.cat([instances.pred_classes for instances in found])
        if len(found) > 1:
            views = torch.arange(len(found)).repeat_interleave(counts).to(boxes.device)
            boxes, scores, classes = self.merge(boxes, scores, classes, views, num_views=len(found))
        merged = Instances(size, pred_boxes=Boxes(boxes), scores=scores, pred_classes=classes)
        return merged if self.max_detections < 0 else merged[: self.max_detections]


def _resizes(cfg):
    """One augmentation for each of TEST.AUG.MIN_SIZES, or that of testing."""
    sizes, fixed = cfg.TEST.AUG.MIN_SIZES, cfg.INPUT.FIXED_SIZE
    if not sizes:
        return build_augmentations(cfg, is_train=False)
    if fixed:
        return [T.Resize([round(side * size / min(fixed)) for side in fixed]) for size in sizes]
    return [T.ResizeShortestEdge(size, cfg.TEST.AUG.MAX_SIZE) for size in sizes]


def _symmetries(flip, vertical_flip, rotate90):
    """(quarter turns, horizontal flip) of each view, the upright image first, none twice."""
    if rotate90:
        flips = (False, True) if flip or vertical_flip else (False,)
        return [(turns, flipped) for flipped in flips for turns in range(4)]
    # Half a turn and a horizontal flip make a vertical flip.
    wanted = {(0, True): flip, (2, True): vertical_flip, (2, False): flip and vertical_flip}
    return [(0, False), *(symmetry for symmetry, is_wanted in wanted.items() if is_wanted)]


def _view(image, resize, symmetry, output_size):
    """What the model reads. It undoes the resize itself: boxes come in the turned output size."""
    # Flips and turns take the size of the output for boxes; for pixels they need none.
    inputs = T.AugInput(symmetry.apply_image(image))
    resize(inputs)
    pixels = torch.from_numpy(np.ascontiguousarray(inputs.image.transpose(2, 0, 1)))
    height, width = output_size
    return {"image": pixels, "height": height, "width": width}


def _transform_boxes(transform, boxes):
    return torch.from_numpy(transform.apply_box(boxes.cpu().numpy())).to(boxes)
