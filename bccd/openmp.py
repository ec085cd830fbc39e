"""Bounds how long PyTorch's threads wait for each other in a busy loop. Import it before PyTorch.

By default GNU's OpenMP lets a thread that waits for another spin for milliseconds. Where a second
program uses one of the cores, the thread that is waited for does not get it meanwhile, and an image
can take ten times as long. With a bound the waiting thread soon sleeps (docs/many_images.md;
``tools/time_busy.py`` measures what it brings).

The library reads its environment when PyTorch loads it. Every command of this project therefore
imports this module first, and processes started by it inherit the setting. A program that imports
PyTorch before ``bccd`` must set the variable itself.
"""

import os
from collections.abc import MutableMapping

SPIN_COUNT = "20000"


def bound_busy_waiting(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set GOMP_SPINCOUNT in ``environment``, unless it or OMP_WAIT_POLICY is there already."""
    if "OMP_WAIT_POLICY" not in environment:
        environment.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)


bound_busy_waiting()
