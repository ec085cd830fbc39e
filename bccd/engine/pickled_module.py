"""Weights of files that hold a pickled ``nn.Module``, read without any of its code.

The programs of YOLOv3, YOLOv5, YOLOv7 and YOLOv8 save their whole model, whose classes would have
to be imported, and can run anything, to unpickle it. Here PyTorch's restricted unpickler reads the
file, with a class without behaviour in the place of each one that the file names. What a module
holds is then in the attributes that ``nn.Module`` keeps it in.
"""

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from bccd.modeling.precision import full_precision


@dataclass
class PickledModule:
    """What a file says of its model.

    Attributes:
        weights: the state dict, on the CPU, half precision as float32.
        class_names: of the model's classes, in its order; None where the file has none.
    """

    weights: dict[str, Tensor]
    class_names: tuple[str, ...] | None


class _Inert:
    """Stands for an instance of any class, or the result of any function, and does nothing."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        if isinstance(state, dict):
            self.__dict__.update(state)


def read_pickled_module(path: str | Path) -> PickledModule:
    """Read the averaged weights of a file where it has them under "ema", else those of "model".

    Args:
        path: a file of ``torch.save``, with a module or with a state dict under either key, or
            with one of them alone.

    Raises:
        ValueError: the file is damaged, of a PyTorch before 1.6, or without weights.
    """
    loaded = _load(path)
    found = loaded
    if isinstance(loaded, dict):
        # "model" of a state dict without a key around it would be one of its tensors.
        found = next((x for x in map(loaded.get, ("ema", "model")) if _has_weights(x)), loaded)
    if not _has_weights(found):
        raise ValueError(f'{path} has no weights under "ema" or "model": it is of another program')
    weights = found if isinstance(found, dict) else dict(_state(found))
    # Rounded for publishing; buffers such as the number of batches are integers.
    weights = {k: full_precision(x) if x.is_floating_point() else x for k, x in weights.items()}
    weights = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    return PickledModule(weights, _class_names(getattr(found, "names", None)))


def _load(path):
    try:
        named = get_unsafe_globals_in_checkpoint(path)
        with safe_globals([(type(name, (_Inert,), {}), name) for name in named]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # damaged files raise many types
        # PyTorch explains to programmers how to load any pickle, which is the wrong advice here.
        is_advice = isinstance(error, pickle.UnpicklingError) and "weights_only" in str(error)
        reason = "" if is_advice else f" ({type(error).__name__}: {str(error).splitlines()[0]})"
        raise ValueError(
            f"{path} cannot be read as a file of torch.save; it is damaged, of a PyTorch before "
            "1.6, or holds what no model needs. Download it again, or save it again with a newer "
            f"PyTorch{reason}"
        ) from error


def _has_weights(found: Any) -> bool:
    if isinstance(found, dict):
        return bool(found) and all(isinstance(value, Tensor) for value in found.values())
    return "_modules" in getattr(found, "__dict__", {})


def _state(module: _Inert, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """(name, tensor) as ``nn.Module.state_dict`` has them."""
    attributes = vars(module)
    dropped = attributes.get("_non_persistent_buffers_set", ())
    for kind in ("_parameters", "_buffers"):
        for name, tensor in attributes.get(kind, {}).items():
            if isinstance(tensor, Tensor) and name not in dropped:
                yield prefix + name, tensor
    for name, child in attributes.get("_modules", {}).items():
        if child is not None:
            yield from _state(child, f"{prefix}{name}.")


def _class_names(names: Any) -> tuple[str, ...] | None:
    """Names of a list, or of a dict by class index."""
    if isinstance(names, dict):
        names = [names[index] for index in sorted(names)]
    return tuple(map(str, names)) if isinstance(names, (list, tuple)) and names else None
