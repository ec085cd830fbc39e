"""Time of a forward pass or a training iteration by the part of the detector."""

import re
import sys
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.optim import Optimizer

from bccd.benchmark.timing import Sections, quartiles
from bccd.engine.ema import ModelEMA

# Path of a module in the model, its methods, and the part to which their time is added. The time
# outside of all parts is "rest". The time of a part excludes that of the parts inside it.
# A detector names further parts as ``benchmark_parts``, see bccd.modeling.capabilities.
PARTS = (
    ("", ("preprocess_image",), "normalise and pad"),
    ("backbone", ("forward",), "backbone"),
    ("head", ("forward",), "head"),
    ("", ("inference", "forward_inference"), "post-processing"),
    ("", ("forward_training",), "losses"),
    ("", ("assign",), "matching"),
)


def watch_model(sections: Sections, model: nn.Module) -> None:
    """Add the time of the parts of ``model`` to ``sections``."""
    parts = (*PARTS, *getattr(model, "benchmark_parts", ()))
    for path, module in model.named_modules():
        for pattern, methods, name in parts:
            match = re.fullmatch(pattern, path)
            for method in methods if match else ():
                if hasattr(module, method):
                    sections.watch(module, method, match.expand(name))
    # The function that scales boxes to the output size, in the modules where a model finds it.
    for kind in type(model).__mro__:
        if hasattr(sys.modules[kind.__module__], "detector_postprocess"):
            sections.watch(sys.modules[kind.__module__], "detector_postprocess", "post-processing")


def watch_training(sections: Sections, optimizer: Optimizer, ema: ModelEMA | None = None) -> None:
    """Add the time of backward pass, optimizer and weight averaging to ``sections``."""
    sections.watch(torch.Tensor, "backward", "backward")
    sections.watch(optimizer, "zero_grad", "optimizer")
    sections.watch(optimizer, "step", "optimizer")
    if ema is not None:
        sections.watch(ema, "update", "average of the weights")


def split(
    function: Callable[[], object], watch: Callable[[Sections], None], seconds: float
) -> dict[str, float]:
    """Milliseconds of each part of ``function()``.

    Args:
        function: without arguments.
        watch: called with the :class:`Sections` that times are added to.
        seconds: the function is repeated for this long, and at least three times.

    Returns:
        dict[str, float]: the median of each part, in the order of their first use; "rest" last.
    """
    runs, end = [], time.perf_counter() + seconds
    while len(runs) < 3 or time.perf_counter() < end:
        sections = Sections()
        watch(sections)
        try:
            with sections.section("rest"):
                function()
        finally:
            sections.restore()
        runs.append(dict(sections.seconds))
    names = [name for name in runs[0] if name != "rest"] + ["rest"]
    return {name: 1e3 * quartiles([run.get(name, 0.0) for run in runs])["median"] for name in names}
