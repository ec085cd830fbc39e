"""In which precision a training computes."""

import logging

import torch

logger = logging.getLogger(__name__)


def amp_dtype(amp, on_gpu):
    """Type of mixed precision that ``amp``, a node SOLVER.AMP, asks for; None: single precision."""
    if not amp.ENABLED:
        return None
    if on_gpu:
        return getattr(torch, amp.DTYPE)
    if not has_fast_bfloat16():
        logger.info("Training in single precision: this CPU has no instructions for bfloat16")
        return None
    return torch.bfloat16


def has_fast_bfloat16():
    """Whether the CPU multiplies bfloat16 natively; emulated it is slower than single precision."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # not in older PyTorch
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)
