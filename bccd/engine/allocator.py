"""Settings of the C library's memory allocator."""

import ctypes

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_KEPT_BYTES = 2**30


def keep_freed_memory() -> None:
    """Have the C library keep up to a GiB of freed memory instead of returning it at once.

    PyTorch's CPU allocator asks the C library for the memory of every tensor. By default the
    library maps a large feature map from the system and returns it in every layer, and the system
    fills each page with zeros, which takes a fifth of a training iteration (docs/performance.md).
    Keeping the memory makes the process larger, because what is kept gets fragmented. Without
    glibc, this function does nothing.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)  # its threshold for mapping cannot be set above 32 MiB
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
