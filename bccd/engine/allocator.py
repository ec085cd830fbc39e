"""How this process asks the system for memory."""

import ctypes

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_KEPT_BYTES = 2**30


def keep_freed_memory() -> None:
    """Have the C library keep up to a GiB of freed memory instead of returning it at once.

    PyTorch's CPU allocator asks it for every tensor. It would map a feature map of 35 MB from the
    system and give it back in every layer, and the system would fill each page with zeros: a fifth
    of a training iteration (docs/performance.md). In return what is kept has holes, and the
    process is larger. Where the C library is not glibc, nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_MAX, 0)  # its threshold for mapping cannot be set above 32 MiB
        mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
