"""A detector with its input, ready to be run.

Uses nothing of this package and only what has long been in the others: a comparison of revisions
runs this file with the code of another revision.
"""

import copy
import itertools
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import torch
from detectron2.config import CfgNode
from detectron2.data import transforms as T
from detectron2.modeling import META_ARCH_REGISTRY, build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from torch import nn

from bccd.config import get_bccd_cfg
from bccd.data.synthetic import draw_smear
from bccd.data.transforms.augmentation import build_augmentations
from bccd.engine.ema import ModelEMA
from bccd.engine.optimizer import build_optimizer
from bccd.engine.step import TrainStep


class Workload:
    """Model of a config with random weights (seed 0), smears as input, optimizer and average.

    Args:
        config_file, opts: of the config, ``KEY VALUE`` pairs last.
        size: height and width of the smears, before the config's resize.
        batch_size: of a training iteration.
        amp_dtype: of mixed precision when training.
        reference: run the detector's reference implementation, with the weights that the
            project's model would have. It trains as published, without mixed precision and weight
            averaging.
    """

    def __init__(
        self,
        config_file: Path,
        opts: Sequence[str],
        *,
        size: Sequence[int],
        batch_size: int,
        amp_dtype: torch.dtype | None = None,
        reference: bool = False,
    ) -> None:
        self.cfg = read_config(config_file, opts)
        if not reference:
            _keep_freed_memory(self.cfg)
        self.size = tuple(size)
        torch.manual_seed(0)
        self.model = build_model(self.cfg)
        build = build_optimizer
        if reference:
            published = reference_implementation(self.cfg)
            weights = self.model.state_dict()
            self.model = published.build_model(self.cfg)
            self.model.load_state_dict(weights, strict=True)
            build, amp_dtype = published.build_optimizer, None
        self.optimizer = build(self.cfg, self.model)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0  # the same work, and weights that stay finite however long it runs
        average = self.cfg.SOLVER.EMA
        self.ema = None
        if average.ENABLED and not reference:
            self.ema = ModelEMA(self.model, average.DECAY, average.WARMUP)
        self._detector, self._reference = None, reference
        self.image = smear_batch(self.cfg, self.size, 1)
        self.batch = smear_batch(self.cfg, self.size, batch_size)
        self._step = TrainStep(
            self.model, itertools.repeat(self.batch), self.optimizer, amp_dtype=amp_dtype
        )

    @property
    def detector(self) -> nn.Module:
        """The model as a user runs it, prepared as ``cfg.INFERENCE`` says; a reference is not."""
        if self._detector is None:
            self._detector = copy.deepcopy(self.model).eval()
            if "INFERENCE" in self.cfg and not self._reference:
                from bccd.modeling.fast_inference.prepare import (
                    prepare_for_inference,  # not in old revisions
                )

                prepare_for_inference(self._detector, self.cfg.INFERENCE)
        return self._detector

    def forward(self, batch: list[dict] | None = None) -> list[dict]:
        """Detect in ``batch``; None: in one image."""
        with torch.inference_mode():
            results = self.detector(batch or self.image)
        self._wait()
        return results

    def train(self) -> None:
        """Run one training iteration, without loading its data."""
        self.model.train()
        with EventStorage():
            self._step.run_step()
        if self.ema is not None:
            self.ema.update(self.model)
        self._wait()

    def _wait(self):
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()


def _keep_freed_memory(cfg):
    """Keep freed memory as demo.py and train_net.py do, if the revision has it."""
    if cfg.MODEL.get("ACTIVATION_CHECKPOINTING"):
        return
    with suppress(ImportError):
        from bccd.engine.allocator import keep_freed_memory

        keep_freed_memory()


def read_config(config_file: str | Path, opts: Sequence[str] = ()) -> CfgNode:
    """The config, for the GPU where there is one, without weights to load."""
    cfg = get_bccd_cfg()
    cfg.merge_from_file(str(config_file))
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    cfg.merge_from_list(list(opts))
    return cfg


def smear_batch(cfg: CfgNode, size: tuple[int, int], count: int) -> list[dict]:
    """``count`` smears of ``size`` (height, width), resized as the config does for testing."""
    augmentations = T.AugmentationList(build_augmentations(cfg, is_train=False))
    batch = []
    for seed in range(count):
        image, boxes, classes = draw_smear(seed, *size)
        inputs = T.AugInput(image, boxes=boxes)
        augmentations(inputs)
        instances = Instances(inputs.image.shape[:2])
        instances.gt_boxes = Boxes(torch.as_tensor(inputs.boxes, dtype=torch.float32))
        instances.gt_classes = torch.as_tensor(classes)
        tensor = torch.as_tensor(inputs.image.transpose(2, 0, 1).copy())
        height, width = size
        batch.append({"image": tensor, "instances": instances, "height": height, "width": width})
    return batch


def reference_implementation(cfg: CfgNode) -> ModuleType:
    """The module that the detector of ``cfg`` names as its reference implementation.

    Raises:
        ValueError: it names none.
    """
    from bccd.modeling.capabilities import load_offered  # not in old revisions

    module = load_offered(META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE), "reference")
    if module is None:
        raise ValueError(f"{cfg.MODEL.META_ARCHITECTURE} has no reference implementation")
    return module
