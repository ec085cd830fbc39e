"""What this machine can do at best: its own fastest matrix product and memory copy, measured."""

import torch

from bccd.benchmark.timing import synchronize, timing
from bccd.engine.precision import has_fast_bfloat16

SIDE = 2048
COPY_BYTES = 256 * 2**20  # more than any cache holds


def measure_ceiling(device, seconds):
    """Figures to hold a model's against.

    Args:
        device (str): "cpu" or "cuda".
        seconds (float): measuring time of each figure.

    Returns:
        dict: ``float32_gflops`` and, where bfloat16 is fast, ``bfloat16_gflops`` of a product of
        two matrices of 2048 x 2048; ``copy_gb_s`` of a copy, bytes read and written.
    """
    result = {"float32_gflops": _product_gflops(device, torch.float32, seconds)}
    if device == "cuda" or has_fast_bfloat16():
        result["bfloat16_gflops"] = _product_gflops(device, torch.bfloat16, seconds)
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    milliseconds = _fastest(lambda: target.copy_(source), seconds)
    result["copy_gb_s"] = 2 * COPY_BYTES / milliseconds / 1e6
    return result


def _product_gflops(device, dtype, seconds):
    a, b = torch.randn(2, SIDE, SIDE, device=device).to(dtype)
    out = torch.empty_like(a)
    return 2 * SIDE**3 / _fastest(lambda: torch.mm(a, b, out=out), seconds) / 1e6


def _fastest(function, seconds):
    """Milliseconds: the lower quartile, since a limit is what the machine can do undisturbed."""

    def waiting():
        function()
        synchronize()

    return timing(waiting, seconds)["quartile_ms"][0]
