"""How this process asks the system for memory."""

import ctypes

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30


def keep_freed_memory():
    """Have the C library keep up to a GiB of freed memory instead of returning it at once.

    PyTorch's CPU allocator asks it for every tensor. A feature map of 20 MB would be given back and
    fetched again, page by page, in every layer: a tenth of the time of ResNet-50 on a CPU
    (docs/performance.md). Where the C library is not glibc, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
