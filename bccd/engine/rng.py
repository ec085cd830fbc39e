"""The random state of Python, NumPy and PyTorch, which checkpoints keep and evaluation restores."""

import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from detectron2.utils import comm

logger = logging.getLogger(__name__)


def get_rng_state() -> dict:
    """Random state of this process, of types that ``torch.load(weights_only=True)`` accepts."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    state = {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_rng_state(state: dict) -> None:
    """Set the state that :func:`get_rng_state` returned."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Restore the random state after the ``with`` block."""
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


class RandomState:
    """The random states of all processes and the seed of the data order, for a checkpointer."""

    def __init__(self, seed: int) -> None:
        """``seed``: of the data order, the same in all processes; see the data loader."""
        self.seed = seed

    def state_dict(self) -> dict:
        """The states of all processes. Every process must call this method."""
        return {"seed": self.seed, "processes": comm.all_gather(get_rng_state())}

    def load_state_dict(self, state: dict) -> None:
        """Set the state of this process. A process that the checkpoint lacks keeps its own."""
        self.seed = state["seed"]
        states = state["processes"]
        if len(states) != comm.get_world_size():
            logger.warning(
                "The checkpoint was written by %d processes and is resumed by %d: the data order "
                "goes on unchanged, other random numbers do not.",
                len(states),
                comm.get_world_size(),
            )
        if comm.get_rank() < len(states):
            set_rng_state(states[comm.get_rank()])
