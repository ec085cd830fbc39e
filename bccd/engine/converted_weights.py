"""Weights of other programs, after their names were mapped to a model's: checked and written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

# Batch normalisation counts batches in it, frozen normalisation does not; no output depends on it.
_COUNTER = "num_batches_tracked"
_SHOWN = 5


def write_converted(
    weights: Mapping[str, Tensor],
    model: nn.Module,
    source: str | Path,
    target: str | Path,
    *,
    whole: bool = True,
    class_names: Sequence[str] | None = None,
) -> None:
    """Write a checkpoint for MODEL.WEIGHTS, once the weights are known to fit.

    Args:
        weights: by the model's names.
        model: may be on the meta device.
        source: file that they come from, for messages.
        target: file to write.
        whole: they are of all of the model.
        class_names: of the model's classes, in its order, where they are known.

    Raises:
        ValueError: a weight is missing, left over or of another shape.
    """
    expected = {name: value.shape for name, value in model.state_dict().items()}
    found = {name: value.shape for name, value in weights.items()}
    missing = [name for name in expected if name not in found and not name.endswith(_COUNTER)]
    missing = missing if whole else []
    unknown = [name for name in found if name not in expected and not name.endswith(_COUNTER)]
    different = [
        f"{name} is {tuple(found[name])} instead of {tuple(shape)}"
        for name, shape in expected.items()
        if name in found and found[name] != shape
    ]
    problems = (("lacks", missing), ("has too much", unknown), ("has other shapes", different))
    if messages := [f"it {what}: {_some(names)}" for what, names in problems if names]:
        raise ValueError(
            f"{source} does not fit the config, use the one of its model: {'; '.join(messages)}"
        )
    # Contiguous: a slice would be saved with all that it was cut from.
    kept = {k: v.clone().contiguous() for k, v in weights.items() if k in expected}
    names = {"class_names": list(class_names)} if class_names else {}
    torch.save({"model": kept, **names}, target)


def _some(names):
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
