"""Accuracy and time of exported detectors on a registered data set."""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances
from torch.utils.data import DataLoader

from bccd.benchmark.timing import in_turn, milliseconds
from bccd.config import get_bccd_cfg
from bccd.counting.predictor import Predictor
from bccd.data.loading.loader import build_test_loader
from bccd.detections import Detections
from bccd.engine.checkpoint import with_checkpoint_classes
from bccd.evaluation.evaluator import BCCDEvaluator
from bccd.evaluation.inference import inference_on_dataset
from bccd.export.detector import exportable
from bccd.export.metadata import Metadata
from bccd.export.runtime import ExportedPredictor, to_array


class EagerPredictor(Predictor):
    """A checkpoint's detector, for :func:`evaluate` and :func:`time_in_turn` beside files."""

    def __init__(self, cfg: CfgNode) -> None:
        """As :class:`Predictor`; ValueError where the detector cannot be exported."""
        super().__init__(cfg)
        self.metadata = Metadata.build(
            with_checkpoint_classes(cfg), self.operating_points, exportable(self.model)
        )

    def runtime(self, images: np.ndarray) -> Detections:
        """Detect in a uint8 array (1, H, W, 3), resized as for testing; returns Detections."""
        _, height, width, _ = images.shape
        image = torch.from_numpy(images[0]).permute(2, 0, 1)
        return self.detect({"image": image, "height": height, "width": width})


def build_loader(metadata: Metadata, dataset: str) -> DataLoader:
    """The test loader of a data set, its images resized as ``metadata`` says."""
    cfg = get_bccd_cfg()
    cfg.MODEL.CLASS_NAMES = tuple(metadata.class_names)
    cfg.INPUT.FORMAT = metadata.channel_order
    cfg.INPUT.FIXED_SIZE = tuple(metadata.fixed_size)
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = metadata.min_size, metadata.max_size
    return build_test_loader(cfg, dataset)


def evaluate_exported(
    predictor: ExportedPredictor | EagerPredictor,
    dataset: str,
    output_dir: str | Path,
    bootstrap_samples: int = 1000,
) -> dict:
    """Evaluate as ``train_net.py --eval-only`` does, and write the same files.

    Args:
        predictor: counts at its own thresholds.
        dataset: registered name.
        output_dir: folder for the files.
        bootstrap_samples: of the 95% intervals; 0 gives none.

    Returns:
        dict: ``bbox``, ``count`` and ``time``, see BCCDEvaluator and inference_on_dataset.
    """
    evaluator = BCCDEvaluator(
        dataset,
        str(output_dir),
        class_names=predictor.class_names,
        operating_points=predictor.operating_points,
        bootstrap_samples=bootstrap_samples,
    )
    loader = build_loader(predictor.metadata, dataset)
    return inference_on_dataset(partial(_run, predictor), loader, evaluator)


def time_in_turn(
    predictors: Sequence[ExportedPredictor | EagerPredictor], dataset: str, count: int = 50
) -> list[dict]:
    """Time detectors on the same images, one after the other on each.

    What else the machine does meets all of them alike, so that their ratios say more than their
    times. Each runs twice and the second run counts; which is first changes with the image.

    Args:
        predictors: as of :func:`evaluate_exported`; they need not share a size.
        dataset: registered name.
        count: images to use.

    Returns:
        A dict for each predictor: ``milliseconds`` of a run, and ``speedup``, the time of the first
        predictor divided by its own for each image, both as :func:`.quartiles`.
    """
    loaders = [build_loader(p.metadata, dataset) for p in predictors]
    rows = (
        [
            partial(predictor.runtime, to_array(batch[0])[None])
            for predictor, batch in zip(predictors, batches, strict=True)
        ]
        for batches in itertools.islice(zip(*loaders, strict=True), count)
    )
    return [
        {"milliseconds": time, "speedup": speedup} for time, speedup in in_turn(rows, _second_run)
    ]


def _run(predictor, batch):
    """Detectron2's model contract."""
    return [{"instances": to_instances(predictor.detect(inputs))} for inputs in batch]


def to_instances(found: Detections) -> Instances:
    """``Detections`` as Detectron2's ``Instances``."""
    return Instances(
        found.image_size,
        pred_boxes=Boxes(torch.from_numpy(found.boxes)),
        scores=torch.from_numpy(found.scores),
        pred_classes=torch.from_numpy(found.classes),
    )


def _second_run(function):
    function()
    return milliseconds(function)
