"""What ``torch.compile`` and AOTInductor need on a CPU."""

import shutil


def has_compiler() -> bool:
    """Whether a C++ compiler is installed."""
    return any(map(shutil.which, ("g++", "clang++")))
