"""What every dense detector does: scores and a box at each anchor of each feature map, then NMS.

A detector of this kind is a subclass of :class:`SingleStageDetector` with two methods, ``assign``
and ``losses``, and overrides ``scores`` and ``decode`` where its outputs mean something else. A
detector without anchor boxes has the cells themselves as anchors: squares of one stride.

Shapes: ``N`` images, ``K`` classes, ``L`` feature maps with ``A_l`` anchors each, ``A`` in all;
``S`` class outputs and ``B`` box outputs of an anchor.
"""

from functools import partial
from typing import Any

import torch
from detectron2.layers import batched_nms
from detectron2.modeling.box_regression import Box2BoxTransform
from detectron2.modeling.meta_arch.dense_detector import DenseDetector
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn

from bccd.modeling.dense_predictions import DensePredictions, decode_batch, select_candidates
from bccd.modeling.ground_truth import check_classes
from bccd.modeling.images import channels_last
from bccd.modeling.places import LearningPlaces, places_of_anchors
from bccd.modeling.precision import full_precision


class SingleStageDetector(DenseDetector):
    """Base of dense detectors; Detectron2's ``DenseDetector`` with what its subclasses repeat.

    Detectron2's model contract: a list of dicts in; a dict of losses in training, otherwise a list
    of ``{"instances": Instances}`` with ``pred_boxes scores pred_classes``, best score first.

    Attributes:
        class_outputs: S; K where a subclass says nothing else.
        box_outputs: B.
        num_classes_key, exportable_form: see ``bccd.modeling.capabilities``.
    """

    box_outputs = 4
    num_classes_key: str | None = None
    exportable_form = "bccd.export.dense:ExportableDenseDetector"

    def __init__(
        self,
        *,
        backbone: nn.Module,
        head: nn.Module,
        head_in_features: list[str],
        anchor_generator: nn.Module,
        num_classes: int,
        score_threshold: float,
        topk_candidates: int,
        nms_threshold: float,
        max_detections: int,
        pixel_mean: list[float],
        pixel_std: list[float],
        box2box_transform: Box2BoxTransform | None = None,
        class_agnostic_nms: bool = False,
    ) -> None:
        """
        Args:
            backbone: a Detectron2 Backbone.
            head: list of L maps ``(N, D, H, W)`` to two lists, ``(N, boxes * S, H, W)`` class
                outputs and ``(N, boxes * B, H, W)`` box outputs for the boxes at a cell.
            head_in_features: names of the backbone's feature maps, from the finest on.
            anchor_generator: a Detectron2 anchor generator on these maps.
            num_classes: K.
            score_threshold: detections at or below it are dropped.
            topk_candidates: boxes of a feature map that go into NMS.
            nms_threshold: IoU from which the lower score is dropped.
            max_detections: detections kept in an image.
            pixel_mean, pixel_std: of the three channels, in INPUT.FORMAT order.
            box2box_transform: with which ``decode`` reads the box outputs.
            class_agnostic_nms: NMS between boxes of all classes, not only within a class.
        """
        super().__init__(
            backbone, head, head_in_features, pixel_mean=pixel_mean, pixel_std=pixel_std
        )
        self.anchor_generator = anchor_generator
        self.box2box_transform = box2box_transform
        self.num_classes = num_classes
        self.score_threshold = score_threshold
        self.topk_candidates = topk_candidates
        self.nms_threshold = nms_threshold
        self.class_agnostic_nms = class_agnostic_nms
        self.max_detections = max_detections
        self.capacity = 1.0

    @property
    def class_outputs(self) -> int:
        """S, class outputs of an anchor."""
        return self.num_classes

    def scores(self, logits: Tensor) -> Tensor:
        """Class probabilities ``(..., K)``, float32, of class outputs ``(..., S)``."""
        return full_precision(logits).sigmoid()

    def decode(self, boxes: Tensor, anchors: Tensor, stride: float) -> Tensor:
        """Boxes of box outputs.

        Args:
            boxes: (M, B), of one feature map.
            anchors: (M, 4) XYXY in pixels.
            stride: of this feature map, in pixels.

        Returns:
            (M, 4) XYXY in pixels.
        """
        return self.box2box_transform.apply_deltas(boxes, anchors)

    def assign(self, predictions: DensePredictions, truths: list[Instances]) -> Any:
        """Decide which anchors are to predict what; runs without gradient.

        Args:
            predictions: of the batch.
            truths: of each image, ``gt_boxes`` and ``gt_classes``, where they came from (the host).
                Boxes without area are left out already; an image may have none.

        Returns:
            whatever :meth:`losses` takes.
        """
        raise NotImplementedError

    def losses(
        self, predictions: DensePredictions, assigned: Any, unlabelled: Tensor | None
    ) -> dict[str, Tensor]:
        """Losses of a batch; runs in fp32, also under autocast.

        Args:
            predictions: of the batch.
            assigned: result of :meth:`assign`.
            unlabelled: (N, K) bool, classes that are not annotated in an image, or None. They give
                no negatives, see ``bccd.modeling.missing_labels``.
        """
        raise NotImplementedError

    def matched(self, assigned: Any) -> tuple[Tensor, Tensor, Tensor]:
        """The T pairs of an anchor and a ground truth in a result of :meth:`assign`.

        Only pictures of the assignment need it.

        Returns:
            images (T,) and anchors (T,), int64, of the anchors of all feature maps; ground truth
            (T, 4) XYXY in pixels.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say which anchors it matched")

    def preprocess_image(self, batched_inputs: list[dict]) -> ImageList:
        """Normalise and pad the images of ``batched_inputs`` to one ImageList."""
        return channels_last(super().preprocess_image(batched_inputs))

    def forward(self, batched_inputs: list[dict]) -> dict[str, Tensor] | list[dict]:
        """As DenseDetector; when training, ``unlabelled`` of the inputs reaches the losses.

        Args:
            batched_inputs: list of N dicts, Detectron2's standard model input; ``unlabelled``
                ``(K,)`` bool, where given, marks classes that are not annotated in an image.

        Raises:
            ValueError: a class of the ground truth is not below K.
        """
        if not self.training:
            return super().forward(batched_inputs)
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        features = [features[name] for name in self.head_in_features]
        # Ground truth stays on the host: an assignment may take a decision for every box.
        instances = [x["instances"] for x in batched_inputs]
        unlabelled = None
        if "unlabelled" in batched_inputs[0]:
            unlabelled = torch.stack([x["unlabelled"] for x in batched_inputs]).to(self.device)
        return self.forward_training(images, features, self.head(features), instances, unlabelled)

    def forward_training(
        self,
        images: ImageList,
        features: list[Tensor],
        predictions: tuple[list[Tensor], list[Tensor]],
        gt_instances: list[Instances],
        unlabelled: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch, from what the head returns."""
        predictions = self.dense_predictions(features, predictions)
        with torch.autocast(self.device.type, enabled=False):
            assigned = self._assigned(predictions, gt_instances)
            return self.losses(predictions, assigned, unlabelled)

    @torch.no_grad()
    def learning_places(self, batched_inputs: list[dict]) -> list[LearningPlaces]:
        """See ``bccd.modeling.capabilities``; of a subclass with :meth:`matched`."""
        features = self.backbone(self.preprocess_image(batched_inputs).tensor)
        features = [features[name] for name in self.head_in_features]
        predictions = self.dense_predictions(features, self.head(features))
        instances = [x["instances"] for x in batched_inputs]
        pairs = self.matched(self._assigned(predictions, instances))
        return places_of_anchors(predictions.anchors, predictions.strides, *pairs, instances)

    @torch.no_grad()
    def _assigned(self, predictions, instances):
        key = self.num_classes_key or "NUM_CLASSES of the model's config node"
        check_classes(instances, self.num_classes, key)
        truths = [truth[truth.gt_boxes.nonempty()] for truth in instances]
        return self.assign(predictions, truths)

    def forward_inference(
        self,
        images: ImageList,
        features: list[Tensor],
        predictions: tuple[list[Tensor], list[Tensor]],
    ) -> list[Instances]:
        """Detections of a batch, N Instances in pixels of the network's input."""
        predictions = self.dense_predictions(features, predictions)
        scores = [self.scores(logits) for logits in predictions.logits]
        return [
            self._detect(predictions, [s[i] for s in scores], i, image_size)
            for i, image_size in enumerate(images.image_sizes)
        ]

    def dense_predictions(
        self, features: list[Tensor], outputs: tuple[list[Tensor], list[Tensor]]
    ) -> DensePredictions:
        """What the head returned for ``features``, with a row for each anchor."""
        logits, boxes = self._transpose_dense_predictions(
            outputs, [self.class_outputs, self.box_outputs]
        )
        anchors = self.anchor_generator(features)
        sizes = [tuple(x.shape[-2:]) for x in features]
        strides = list(self.anchor_generator.strides)
        return DensePredictions(logits, boxes, anchors, strides, sizes)

    def decode_all(self, predictions: DensePredictions) -> Tensor:
        """Boxes (N, A, 4) that are predicted at all anchors, XYXY in pixels."""
        levels = zip(predictions.boxes, predictions.anchors, predictions.strides, strict=True)
        decoded = [
            decode_batch(partial(self.decode, stride=stride), full_precision(boxes), anchors.tensor)
            for boxes, anchors, stride in levels
        ]
        return torch.cat(decoded, dim=1)

    def _detect(self, predictions, scores, image, image_size):
        """Threshold, decode and NMS of one image; ``scores`` (A_l, K) of each feature map."""
        # Not Detectron2's _decode_multi_level_predictions: it knows Box2BoxTransform alone.
        levels = zip(
            scores, predictions.boxes, predictions.anchors, predictions.strides, strict=True
        )
        found = []
        for of_level, boxes, anchors, stride in levels:
            best, anchor, classes = select_candidates(
                of_level, self.score_threshold, round(self.capacity * self.topk_candidates)
            )
            decoded = Boxes(self.decode(boxes[image][anchor], anchors.tensor[anchor], stride))
            found.append(
                Instances(image_size, pred_boxes=decoded, scores=best, pred_classes=classes)
            )
        found = Instances.cat(found)
        # One box that is not finite would spoil the NMS of all.
        found = found[found.pred_boxes.tensor.isfinite().all(dim=1)]
        found.pred_boxes.clip(image_size)
        classes = found.pred_classes
        groups = torch.zeros_like(classes) if self.class_agnostic_nms else classes
        # Boxes are float32 in any model, and so must be the scores that rank them.
        scores = found.scores.float()
        keep = batched_nms(found.pred_boxes.tensor, scores, groups, self.nms_threshold)
        return found[keep[: round(self.capacity * self.max_detections)]]
