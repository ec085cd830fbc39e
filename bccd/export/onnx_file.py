"""Writing a detector as ONNX."""

import importlib.util
from contextlib import redirect_stdout
from io import StringIO

import torch
from torch.export import Dim

from bccd.export.detector import MAX_BATCH, MAX_SIDE

OPSET = 18  # what torch.onnx writes without conversion
NEEDS = ("onnx", "onnxscript", "onnxruntime")


def check_can_write(path):
    """Find out before the work whether an ONNX file can be written to ``path``.

    Raises:
        ImportError: a package that this needs is missing.
    """
    missing = [name for name in NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{path} needs packages that are missing; install them with: "
            f"pip install {' '.join(missing)}"
        )


def trace(detector, fixed_size=()):
    """Trace an ``ExportableDetector`` for any number and, without ``fixed_size``, size of images.

    Args:
        fixed_size: (height, width) of all images, or ().

    Returns:
        torch.export.ExportedProgram.
    """
    # Sizes that need padding, and no two alike: what is special about an example is built in.
    images = torch.zeros(2, *(fixed_size or (331, 427)), 3, dtype=torch.uint8)
    dynamic = {0: Dim("count", min=1, max=MAX_BATCH)}
    if not fixed_size:
        limits = {"min": detector.min_side, "max": MAX_SIDE}
        dynamic |= {1: Dim("height", **limits), 2: Dim("width", **limits)}
    with torch.no_grad():
        return torch.export.export(
            detector,
            (images,),
            dynamic_shapes={"images": dynamic},
            # Sizes of feature maps are checked when it runs: tracing cannot solve for all of them.
            prefer_deferred_runtime_asserts_over_guards=True,
        )


def write(program, path, strings):
    """Write an ExportedProgram as ONNX, weights inside, with ``strings`` as metadata_props."""
    with redirect_stdout(StringIO()):  # it reports its progress
        written = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["boxes", "scores", "classes"],
        )
    written.model.metadata_props.update(strings)
    written.save(str(path), external_data=False)
