"""Exponential moving average of a model's weights."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel


class ModelEMA:
    """Averaged copy of a model, in :attr:`module`.

    Update ``t``, from 0, replaces each averaged parameter by ``d * average + (1 - d) * parameter``
    with ``d = min(decay, (1 + t) / (warmup + t))``. The first update copies the parameters.
    Buffers, such as the statistics of batch normalisation, are averages already and are copied.
    """

    def __init__(self, model: nn.Module, decay: float, warmup: float) -> None:
        """Args:
        model: copied; not wrapped for distributed training.
        decay: in [0, 1).
        warmup: at least 1; 1 starts with the full decay.
        """

        def average(averages, parameters, updates):
            # In tensors: the number of updates lies on the parameters' device.
            weight = 1 - ((1 + updates) / (warmup + updates)).clamp(max=decay)
            change = torch._foreach_sub(parameters, averages)
            torch._foreach_mul_(change, weight)
            torch._foreach_add_(averages, change)

        self._averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=False)

    @property
    def module(self) -> nn.Module:
        """The averaged model."""
        return self._averaged.module

    def update(self, model: nn.Module) -> None:
        """Update the average with the parameters of ``model`` after an optimizer step."""
        with torch.no_grad():
            self._averaged.update_parameters(model)

    def state_dict(self) -> dict:
        """The number of updates. The weights themselves are ``model`` in a checkpoint."""
        return {"updates": int(self._averaged.n_averaged)}

    def load_state_dict(self, state: dict) -> None:
        """Counterpart of :meth:`state_dict`."""
        self._averaged.n_averaged.fill_(state["updates"])
