"""Losses on validation data."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from detectron2.utils import comm
from detectron2.utils.events import EventStorage
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.data import DataLoader


def validation_losses(model: nn.Module, loader: DataLoader) -> dict[str, float]:
    """Mean losses over all images of all processes, without changing the model.

    Args:
        model: list[dict] -> dict of scalar losses, when training; not wrapped for
            distributed training.
        loader: with a length, of ``list[dict]`` with ``instances``.

    Returns:
        dict[str, float]: each loss with the prefix ``val_``, and ``val_total_loss``; the same in
        all processes.
    """
    totals, images = defaultdict(float), 0
    batches = iter(loader)
    with loss_mode(model), torch.no_grad(), EventStorage():
        # Losses may communicate, so all processes run the model equally often. A process with fewer
        # batches repeats an image, which does not count.
        for _ in range(max(comm.all_gather(len(loader)))):
            batch = next(batches, None)
            losses = model(batch or loader.collate_fn([loader.dataset[0]]))
            if batch:
                images += len(batch)
                for name, loss in losses.items():
                    totals[name] += float(loss) * len(batch)
    gathered = comm.all_gather((dict(totals), images))
    count = sum(images for _, images in gathered)
    names = {name: None for totals, _ in gathered for name in totals}
    means = {name: sum(totals.get(name, 0.0) for totals, _ in gathered) / count for name in names}
    return {
        "val_total_loss": sum(means.values()),
        **{f"val_{name}": mean for name, mean in means.items()},
    }


@contextmanager
def loss_mode(model: nn.Module) -> Iterator[None]:
    """Training mode, in which a detector returns losses, with fixed statistics and no dropout."""
    modes = [(module, module.training) for module in model.modules()]
    model.train()
    for module, _ in modes:
        if isinstance(module, (_BatchNorm, _DropoutNd)):
            module.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
