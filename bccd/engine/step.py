"""One optimizer step: forward and backward passes, the check of the losses, the update."""

import time
from collections.abc import Iterable
from contextlib import nullcontext

import numpy as np
import torch
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from bccd.engine.rng import preserved_rng


class TrainStep:
    """One training step, like that of Detectron2's SimpleTrainer and AMPTrainer.

    It is used instead of them because a step here can accumulate the gradients of several passes,
    use bfloat16 and run in mixed precision on a CPU. AMPTrainer requires CUDA and uses float16.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[list[dict]] | None,
        optimizer: Optimizer,
        *,
        accumulate: int = 1,
        amp_dtype: torch.dtype | None = None,
    ) -> None:
        """Args:
        model: list[dict] -> dict of scalar losses, when training.
        data_loader: endless, of list[dict]; may be set later.
        optimizer: of the model's parameters.
        accumulate: passes per step; the losses are averaged over them.
        amp_dtype: of mixed precision; None: single precision.
        """
        model.train()
        self.model = model
        self.data_loader = data_loader
        self.optimizer = optimizer
        self.accumulate = accumulate
        self.amp_dtype = amp_dtype
        self.device_type = next(model.parameters()).device.type
        # float16 alone has too narrow a range for gradients.
        self.grad_scaler = torch.amp.GradScaler(
            self.device_type, enabled=amp_dtype == torch.float16
        )
        self._batches = None

    def run_step(self) -> None:
        """Run one step and put its losses into Detectron2's EventStorage.

        Raises:
            FloatingPointError: a loss is not finite; in all processes, and before the update.
        """
        if self._batches is None:
            with preserved_rng():  # a DataLoader's iterator may draw a seed for its workers
                self._batches = iter(self.data_loader)
        self.optimizer.zero_grad()
        batches, losses, data_time = [], [], 0.0
        for index in range(self.accumulate):
            start = time.perf_counter()
            batches.append(next(self._batches))
            data_time += time.perf_counter() - start
            losses.append(self._backward(batches[-1], last=index == self.accumulate - 1))
        self._write_metrics(losses, batches, data_time)
        # A fused optimizer would divide by the scale after its hooks, which clip.
        self.grad_scaler.unscale_(self.optimizer)
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()

    def _backward(self, batch, last):
        wait = isinstance(self.model, DistributedDataParallel) and not last
        with self.model.no_sync() if wait else nullcontext():
            with torch.autocast(
                self.device_type, dtype=self.amp_dtype, enabled=self.amp_dtype is not None
            ):
                losses = self.model(batch)
            total = sum(losses.values()) / self.accumulate
            self.grad_scaler.scale(total).backward()
        return {name: loss.detach() for name, loss in losses.items()}

    def _write_metrics(self, losses, batches, data_time):
        names = list(losses[0])
        # (passes, losses); the one copy from the device in a step
        values = torch.stack([torch.stack([p[n].float() for n in names]) for p in losses]).cpu()
        gathered = comm.all_gather((values.numpy(), data_time))
        # (processes, passes, losses)
        everywhere = np.stack([process_values for process_values, _ in gathered])
        means = dict(zip(names, everywhere.mean(axis=(0, 1), dtype=np.float64), strict=True))
        if not np.isfinite(everywhere).all():
            raise FloatingPointError(_describe(means, values, batches))
        if comm.is_main_process():
            storage = get_event_storage()
            storage.put_scalar("data_time", max(seconds for _, seconds in gathered))
            storage.put_scalar("total_loss", sum(means.values()))
            if len(means) > 1:
                storage.put_scalars(**means)


def _describe(means, values, batches):
    """Message for losses that are not finite; every process must call this."""
    bad = [b for b, row in zip(batches, values, strict=True) if not torch.isfinite(row).all()]
    own = ", ".join(str(sample.get("file_name")) for batch in bad for sample in batch)
    files = ", ".join(filter(None, comm.all_gather(own)))
    listed = ", ".join(f"{name}={value:.6g}" for name, value in means.items())
    return (
        f"loss is not finite at iteration {get_event_storage().iter}: {listed}. Look at the images "
        f"of this batch, or lower SOLVER.BASE_LR: {files}"
    )
