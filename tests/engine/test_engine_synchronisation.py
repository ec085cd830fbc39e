"""How often a training iteration waits for the device."""

from collections import Counter
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from bccd.benchmark.workload import Workload

CONFIGS = Path(__file__).parents[2] / "configs"
# What has to know values of a tensor: on a device these would wait for it.
READS = ("_local_scalar_dense", "nonzero", "masked_select", "repeat_interleave", "_unique2")


class Device(TorchDispatchMode):
    """Takes all that is computed from ``tensors`` to lie on a device; counts what reads it back.

    On a CPU, so that it can be tested anywhere: ``Tensor.cpu`` makes a copy that lies on the host.
    """

    def __init__(self, tensors, monkeypatch):
        super().__init__()
        self.on_device = WeakIdKeyDictionary(dict.fromkeys(tensors))
        self.reads = Counter()
        monkeypatch.setattr(torch.Tensor, "cpu", lambda x: self.copy_to_host(x))

    def copy_to_host(self, tensor):
        copy = tensor.detach().clone()
        if tensor in self.on_device:
            self.reads["cpu"] += 1
            self.on_device.pop(copy)
        return copy

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if any(x in self.on_device for x in tensors):
            name = function._schema.name.removeprefix("aten::")
            by_mask = name.startswith("index") and any(
                x.dtype == torch.bool and x in self.on_device
                for x in tree_leaves(args[1])
                if isinstance(x, torch.Tensor)
            )
            if name in READS or by_mask:
                self.reads[name] += 1
            for x in tree_leaves(result):
                if isinstance(x, torch.Tensor):
                    self.on_device[x] = None
        return result


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("SparseRCNN/sparse_rcnn_lite_bccd.yaml", []),
        ("SparseRCNN/sparse_rcnn_lite_bccd.yaml", ["MODEL.ACTIVATION_CHECKPOINTING", "True"]),
        ("SSD/ssd_lite_bccd.yaml", []),
        (
            "SSD/ssd_lite_bccd.yaml",
            ["MODEL.SSD.LOSS", "multibox", "INPUT.UNLABELLED_IF_ABSENT", "()"],
        ),
    ],
)
def test_an_iteration_reads_the_device_twice(config, options, monkeypatch):
    """Once to match, predictions or default boxes, and once to check and write the losses.

    On a GPU Detectron2's ROIPooler adds to Sparse R-CNN the choice of boxes for every level.
    """
    assert reads_of_an_iteration(config, options, monkeypatch) == {"cpu": 2}


def reads_of_an_iteration(config, options, monkeypatch):
    options = ["MODEL.DEVICE", "cpu", "INPUT.MIN_SIZE_TEST", "64", *options]
    workload = Workload(CONFIGS / config, options, size=(64, 96), batch_size=2)
    workload.train()  # makes the optimizer's state
    device = Device([*workload.model.parameters(), *workload.model.buffers()], monkeypatch)
    with device:
        workload.train()
    return device.reads


@pytest.mark.parametrize(
    ("config", "reads"),
    [
        # To count the anchors that each ground truth of the two images keeps, and their truths.
        ("YOLOF/yolof_lite_bccd.yaml", {"cpu": 1, "index": 4}),
        # Anchors are matched by their shape, which the host knows.
        ("YOLOv3/yolov3_lite_bccd.yaml", {"cpu": 1}),
        # The candidates that are taken, of all images at once.
        ("YOLOv7/yolov7_lite_bccd.yaml", {"cpu": 2}),
        # Where cells are matched.
        ("YOLOv8/yolov8_lite_bccd.yaml", {"cpu": 1, "nonzero": 1}),
    ],
)
def test_an_iteration_reads_the_device_once_to_write_losses_and_rarely_to_match(
    config, reads, monkeypatch
):
    assert reads_of_an_iteration(config, [], monkeypatch) == reads
