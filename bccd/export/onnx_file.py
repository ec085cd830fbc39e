"""Writing a detector as ONNX."""

import importlib.util
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from bccd.export.detector import MAX_BATCH, MAX_SIDE, NO_DETECTION, ExportableDetector
from bccd.export.suppression import OPERATOR

OPSET = 18  # what torch.onnx writes without conversion
NEEDS = ("onnx", "onnxscript", "onnxruntime")


def check_can_write(path: str | Path) -> None:
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


def trace(detector: ExportableDetector, fixed_size: Sequence[int] = ()) -> ExportedProgram:
    """Trace an ``ExportableDetector`` for any number and, without ``fixed_size``, size of images.

    Args:
        fixed_size: (height, width) of all images, or ().
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


def write(program: ExportedProgram, path: Path, strings: dict[str, str]) -> None:
    """Write an ExportedProgram as ONNX, weights inside, with ``strings`` as metadata_props."""
    with redirect_stdout(StringIO()):  # it reports its progress
        written = torch.onnx.export(
            program,
            (),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["boxes", "scores", "classes"],
            custom_translation_table={OPERATOR: _suppress},
        )
    written.model.metadata_props.update(strings)
    written.save(str(path), external_data=False)


def _suppress(boxes, scores, classes, num_classes, iou_threshold, score_threshold):
    """:func:`bccd.export.suppression.suppress` in operators of ONNX."""
    from onnxscript import opset18 as op

    index = op.Range(0, num_classes, 1)
    of_class = op.Equal(op.Unsqueeze(classes, [1]), op.Unsqueeze(index, [1]))  # (N, K, C)
    of_class = op.Where(of_class, op.Unsqueeze(scores, [1]), NO_DETECTION)
    kept = op.NonMaxSuppression(boxes, of_class, 2**63 - 1, iou_threshold, score_threshold)
    place = op.Gather(kept, [0, 2], axis=1)  # image and row, without the class between them
    nothing = op.Expand(NO_DETECTION, op.Shape(scores))
    return op.ScatterND(nothing, place, op.GatherND(scores, place))
