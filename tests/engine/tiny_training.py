"""A tiny detector and a tiny data set, for tests of the engine. Not a test itself.

``python -m tiny_training FLAGS`` is train_net.py with both; the images are in $TINY_IMAGES.
"""

import os
import signal
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import numpy as np
import torch
from detectron2.config import configurable
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import default_argument_parser
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, BoxMode, Instances
from detectron2.utils import comm
from PIL import Image
from torch import nn

import train_net
from bccd.config import get_bccd_cfg
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.engine.launch import launch

SIZE = 32
COUNT = 8


@META_ARCH_REGISTRY.register()
class TinyDetector(nn.Module):
    """One box per image; the loss is the mean of per-image losses, so any grouping adds up."""

    num_classes_key = "MODEL.RETINANET.NUM_CLASSES"  # a key that is there anyway

    @configurable
    def __init__(self, num_classes=3, dropout=0.0, device="cpu"):
        super().__init__()
        self.num_classes = num_classes
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.GroupNorm(2, 4), nn.ReLU())
        self.dropout = nn.Dropout(dropout)
        self.bbox_pred = nn.Linear(4, 4)
        self.cls_score = nn.Linear(4, num_classes)
        self.to(device)

    @classmethod
    def from_config(cls, cfg):
        return {"num_classes": cfg.MODEL.RETINANET.NUM_CLASSES, "device": cfg.MODEL.DEVICE}

    def forward(self, batched_inputs):
        device = self.cls_score.weight.device
        images = torch.stack([x["image"].to(device).float() / 255 for x in batched_inputs])
        features = self.dropout(self.backbone(images).mean(dim=(2, 3)))
        boxes, logits = self.bbox_pred(features).sigmoid() * SIZE, self.cls_score(features)
        if self.training:
            return self.losses(batched_inputs, boxes.float(), logits.float())
        return [{"instances": self.predict(*both)} for both in zip(boxes, logits, strict=True)]

    def losses(self, batched_inputs, boxes, logits):
        box_loss, class_loss = [], []
        for inputs, box, logit in zip(batched_inputs, boxes, logits, strict=True):
            truth = inputs["instances"].to(box.device)
            box_loss.append((truth.gt_boxes.tensor - box).abs().mean() / SIZE)
            target = truth.gt_classes
            class_loss.append(nn.functional.cross_entropy(logit.expand(len(target), -1), target))
        return {
            "loss_bbox": torch.stack(box_loss).mean(),
            "loss_ce": torch.stack(class_loss).mean(),
        }

    def predict(self, box, logits):
        scores = logits.softmax(0)
        low, high = torch.minimum(box[:2], box[2:]), torch.maximum(box[:2], box[2:])
        result = Instances((SIZE, SIZE))
        result.pred_boxes = Boxes(torch.cat([low, high])[None])
        result.scores, result.pred_classes = scores.max(0).values[None], scores.argmax()[None]
        return result


@META_ARCH_REGISTRY.register()
class TinyDropoutDetector(TinyDetector):
    """TinyDetector whose training draws random numbers."""

    @classmethod
    def from_config(cls, cfg):
        return {**super().from_config(cfg), "dropout": 0.3}


@META_ARCH_REGISTRY.register()
class TinyMortalDetector(TinyDetector):
    """TinyDetector that, with $TINY_DEATH "1 6", kills the second process at its sixth image."""

    images = 0

    def predict(self, box, logits):
        self.images += 1
        if os.environ.get("TINY_DEATH") == f"{comm.get_rank()} {self.images}":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(box, logits)


def register_tiny_datasets(folder):
    """Write and register tiny_train, tiny_val and tiny_test below ``folder``."""
    for seed, name in enumerate(("tiny_train", "tiny_val", "tiny_test")):
        records = _write_images(folder, name, seed)
        if name in DatasetCatalog:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)
        DatasetCatalog.register(name, lambda records=records: records)
        MetadataCatalog.get(name).set(
            thing_classes=list(CLASS_NAMES),
            thing_dataset_id_to_contiguous_id={1: 0, 2: 1, 3: 2},
            evaluator_type="coco",
        )


def _write_images(folder, name, seed):
    rng = np.random.default_rng(seed)
    records = []
    for index in range(COUNT):
        x, y, side = rng.integers((2, 2, 8), (12, 12, 18))
        image = rng.integers(180, 255, (SIZE, SIZE, 3), dtype=np.uint8)
        image[y : y + side, x : x + side] = (200, 60 * (index % 3), 90)
        file = folder / f"{name}_{index}.png"
        Image.fromarray(image).save(file)
        box = [float(x), float(y), float(x + side), float(y + side)]
        annotation = {"bbox": box, "bbox_mode": BoxMode.XYXY_ABS, "category_id": index % 3}
        records.append(
            {
                "file_name": str(file),
                "image_id": index,
                "height": SIZE,
                "width": SIZE,
                "annotations": [{**annotation, "iscrowd": 0}],
            }
        )
    return records


def tiny_options(output, *options):
    """KEY, VALUE, ... of a short training; ``options`` come last."""
    return [
        *("MODEL.META_ARCHITECTURE", "TinyDetector", "MODEL.DEVICE", "cpu", "SEED", 7),
        *("MODEL.RETINANET.NUM_CLASSES", 3, "MODEL.WEIGHTS", ""),
        *("DATASETS.TRAIN", ("tiny_train",), "DATASETS.VAL", ("tiny_val",)),
        *("DATASETS.TEST", ("tiny_test",), "DATALOADER.NUM_WORKERS", 0),
        *("INPUT.MIN_SIZE_TRAIN", (SIZE,), "INPUT.MIN_SIZE_TEST", SIZE),
        *("SOLVER.IMS_PER_BATCH", 4, "SOLVER.BASE_LR", 0.05, "SOLVER.MAX_ITER", 6),
        *("SOLVER.STEPS", (5,), "SOLVER.WARMUP_ITERS", 2, "SOLVER.CHECKPOINT_PERIOD", 3),
        *("TEST.EVAL_PERIOD", 3, "TEST.BOOTSTRAP.ENABLED", False),
        *("OUTPUT_DIR", str(output)),
        *options,
    ]


def tiny_cfg(output, *options):
    """Config of a short training into ``output``, which is made."""
    Path(output).mkdir(parents=True, exist_ok=True)
    cfg = get_bccd_cfg()
    cfg.merge_from_list(tiny_options(output, *options))
    return cfg


def main(args):
    """train_net.py's main, which knows the tiny data."""
    register_tiny_datasets(Path(os.environ["TINY_IMAGES"]))
    return train_net.main(args)


if __name__ == "__main__":
    launch(main, default_argument_parser().parse_args())
