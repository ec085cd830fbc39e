"""What this machine can do at best: its own matrix product, convolution and copy, measured."""

import torch
import torch.nn.functional as F

from bccd.benchmark.timing import synchronize, timing
from bccd.modeling.precision import has_fast_bfloat16

SIDE = 2048
CHANNELS, MAP_SIDE = 256, 64
COPY_BYTES = 256 * 2**20  # more than any cache holds


def measure_ceiling(device: str, seconds: float) -> dict:
    """Figures to hold a model's against.

    Args:
        device: "cpu" or "cuda".
        seconds: measuring time of each figure.

    Returns:
        dict: ``product`` and ``convolution``, each GFLOP/s by name of a type, ``float32`` and,
        where it is fast, ``bfloat16``: of two matrices of 2048 x 2048, and 3 x 3 on 256 channels of
        64 x 64 (on a CPU another library computes those); ``copy_gb_s`` of a copy, bytes read and
        written.
    """
    types = ["float32"] + ["bfloat16"] * (device == "cuda" or has_fast_bfloat16())
    result = {
        "product": {name: _product_gflops(device, getattr(torch, name), seconds) for name in types},
        "convolution": {
            name: _convolution_gflops(device, getattr(torch, name), seconds) for name in types
        },
    }
    source = torch.ones(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    milliseconds = _fastest(lambda: target.copy_(source), seconds)
    result["copy_gb_s"] = 2 * COPY_BYTES / milliseconds / 1e6
    return result


def _product_gflops(device, dtype, seconds):
    a, b = torch.randn(2, SIDE, SIDE, device=device).to(dtype)
    out = torch.empty_like(a)
    return 2 * SIDE**3 / _fastest(lambda: torch.mm(a, b, out=out), seconds) / 1e6


def _convolution_gflops(device, dtype, seconds):
    order = {"device": device, "dtype": dtype, "memory_format": torch.channels_last}
    images = torch.randn(1, CHANNELS, MAP_SIDE, MAP_SIDE).to(**order)
    weight = torch.randn(CHANNELS, CHANNELS, 3, 3).to(**order)
    with torch.inference_mode():
        milliseconds = _fastest(lambda: F.conv2d(images, weight, padding=1), seconds)
    return 2 * 9 * (CHANNELS * MAP_SIDE) ** 2 / milliseconds / 1e6


def best_gflops(ceiling: dict, name: str = "float32") -> float:
    """GFLOP/s of the faster of product and convolution in a type, of :func:`measure_ceiling`."""
    return max(ceiling["product"][name], ceiling["convolution"][name])


def _fastest(function, seconds):
    """Milliseconds: the lower quartile, since a limit is what the machine can do undisturbed."""

    def waiting():
        function()
        synchronize()

    return timing(waiting, seconds)["quartile_ms"][0]
