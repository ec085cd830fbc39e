"""In which precision a detector computes."""

import logging

import torch
from detectron2.config import CfgNode

logger = logging.getLogger(__name__)


def full_precision(x: torch.Tensor) -> torch.Tensor:
    """``x`` in float32, or as it is in float64, with which a model is compared to another."""
    return x if x.dtype == torch.float64 else x.float()


def amp_dtype(amp: CfgNode, on_gpu: bool) -> torch.dtype | None:
    """Type of mixed precision that ``amp``, a node SOLVER.AMP, asks for; None: single precision."""
    if not amp.ENABLED:
        return None
    if on_gpu:
        return getattr(torch, amp.DTYPE)
    if not has_fast_bfloat16():
        logger.info("Training in single precision: this CPU has no instructions for bfloat16")
        return None
    return torch.bfloat16


def has_fast_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 natively and oneDNN, which computes with it, agrees.

    Emulated it is slower than single precision. oneDNN has no kernels for it below AVX-512, and
    may be told to use fewer instructions than there are (ONEDNN_MAX_CPU_ISA).
    """
    # Private functions, which another PyTorch may not have.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    native = any(getattr(torch.cpu, name, lambda: False)() for name in checks)
    onednn = torch.backends.mkldnn.is_available()
    return native and onednn and torch.ops.mkldnn._is_mkldnn_bf16_supported()
