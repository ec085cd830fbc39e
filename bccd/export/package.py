"""Writing a detector as a package of PyTorch: compiled by AOTInductor for this kind of CPU."""

from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from detectron2.modeling.backbone.fpn import LastLevelMaxPool
from torch import nn
from torch._inductor.utils import fresh_inductor_cache
from torch.export import Dim, ExportedProgram

from bccd.export.detector import MAX_BATCH, MAX_SIDE, ExportableDetector
from bccd.export.suppression import OPERATOR, suppress_at_once
from bccd.modeling.fast_inference.compiler import has_compiler


def check_can_write(path: str | Path) -> None:
    """Find out before the work whether a package can be compiled.

    Raises:
        ValueError: there is no C++ compiler.
    """
    if not has_compiler():
        raise ValueError(f"{path} needs a C++ compiler: install g++, or write an .onnx file")


class _Padded(nn.Module):
    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, images, sizes):
        return self.detector.forward_padded(images, sizes)


class _EverySecond(LastLevelMaxPool):
    """Keeps every second row and column.

    LastLevelMaxPool does the same by a pooling. Its trace would be valid only for sizes that are
    even, or only for sizes that are odd, as the traced one.
    """

    def forward(self, x):
        for dim in (2, 3):
            x = x.index_select(dim, torch.arange(0, x.shape[dim], 2, device=x.device))
        return [x]


@contextmanager
def _free_of_parity(backbone):
    top = getattr(backbone, "top_block", None)
    replaced = isinstance(top, LastLevelMaxPool)
    if replaced:
        backbone.top_block = _EverySecond()
    try:
        yield
    finally:
        if replaced:
            backbone.top_block = top


def trace(detector: ExportableDetector, fixed_size: Sequence[int] = ()) -> ExportedProgram:
    """Trace ``ExportableDetector.forward_padded`` for any number and, without ``fixed_size``, size.

    Args:
        fixed_size: (height, width) of all images, or ().
    """
    side, least = detector.size_divisibility, -(-detector.min_side // detector.size_divisibility)
    count = Dim("count", min=1, max=MAX_BATCH)
    dynamic = {0: count}
    if not fixed_size:
        cells = {"min": least, "max": MAX_SIDE // side}
        dynamic |= {1: side * Dim("rows", **cells), 2: side * Dim("columns", **cells)}
    height, width = (
        -(-x // side) * side for x in fixed_size or ((least + 2) * side, (least + 4) * side)
    )
    images = torch.zeros(2, height, width, 3, dtype=torch.uint8)
    sizes = torch.tensor([[height, width]] * 2)
    with torch.no_grad(), _free_of_parity(detector.model.backbone):
        return torch.export.export(
            _Padded(detector),
            (images, sizes),
            dynamic_shapes={"images": dynamic, "sizes": {0: count}},
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def write(program: ExportedProgram, path: Path, strings: dict[str, str]) -> None:
    """Compile an ExportedProgram to a package, with ``strings`` as its metadata."""
    program = program.run_decompositions({OPERATOR: suppress_at_once})
    options = {
        "freezing": True,  # weights are constants, in oneDNN's own order
        "cpp.dynamic_threads": True,  # as many as the process has that loads it
        "aot_inductor.metadata": strings,
    }
    # Several times the weights, of no use afterwards. The compiler changes its folder: absolute.
    with fresh_inductor_cache(dir=path.parent.resolve()):
        torch._inductor.aoti_compile_and_package(
            program, package_path=str(path), inductor_configs=options
        )
