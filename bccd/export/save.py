"""A trained detector to a checked file."""

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from torch import nn

from bccd.engine.checkpoint import with_checkpoint_classes
from bccd.export import int8, onnx_file, package
from bccd.export.check import TOLERANCE, find_differences
from bccd.export.detector import exportable
from bccd.export.metadata import Metadata
from bccd.export.runtime import OnnxRuntime, default_runtime, load

FORMATS = {".onnx": onnx_file, ".pt2": package}


class DifferentModelError(Exception):
    """The exported detector does not detect what the eager one detects."""


def check_can_write(path: Path, quantized: bool = False) -> None:
    """Find out before the work whether a detector can be written to ``path``.

    Raises:
        ValueError: no format has this suffix, or none with 8-bit integers; no compiler.
        ImportError: a package that the format needs is missing.
    """
    if path.suffix not in FORMATS:
        raise ValueError(f"{path}: the name must end in {' or '.join(FORMATS)}")
    if quantized and path.suffix != ".onnx":
        raise ValueError(f"{path}: 8-bit integers need a file that ends in .onnx")
    FORMATS[path.suffix].check_can_write(path)


def export_detector(
    model: nn.Module,
    cfg: CfgNode,
    thresholds: dict[str, float] | None,
    path: str | Path,
    images: Sequence[np.ndarray],
    calibration: int8.Calibration | None = None,
) -> str:
    """Write ``model`` to ``path``, once the file's detections are those of the model.

    A file that is there already stays as it is where anything fails.

    Args:
        model: an eager detector on the CPU, with its weights.
        cfg: that it was built from; MODEL.WEIGHTS names its checkpoint.
        thresholds: {class name: score}, to store in the file.
        path: ends in a key of ``FORMATS``.
        images: uint8 arrays (H, W, 3), resized as for testing, to check with.
        calibration: quantize the checked file.

    Returns:
        what was found, for a person.

    Raises:
        ValueError, ImportError: see :func:`check_can_write` and ``exportable``.
        DifferentModelError: the detections differ; nothing was written.
        int8.UselessCalibrationError: see ``int8.require_detections``; nothing was written.
    """
    path = Path(path)
    check_can_write(path, quantized=bool(calibration))
    file_format = FORMATS[path.suffix]
    detector = exportable(model)
    metadata = Metadata.build(with_checkpoint_classes(cfg), thresholds, detector)
    program = file_format.trace(detector, cfg.INPUT.FIXED_SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        draft = Path(folder, path.name)
        if calibration:
            metadata = dataclasses.replace(
                metadata, precision="int8", calibration=calibration.describe()
            )
        file_format.write(program, draft, metadata.to_strings())
        found = _require_same(detector, draft, images, path)
        if calibration:
            draft, found = _quantize(draft, calibration, detector.int8_modules, metadata)
        os.replace(draft, path)
    return found


def _require_same(detector, draft, images, path):
    runtime = load(default_runtime(draft), draft)
    differences = find_differences(detector, runtime, images)
    if differences:
        raise DifferentModelError(
            f"{path} was not written: its detections differ from those of the eager model in "
            f"{len(differences)} places, the first:\n  " + "\n  ".join(differences[:5])
        )
    return f"detects what the eager model does in {len(images)} images, to {TOLERANCE}"


def _quantize(draft, calibration, modules, metadata):
    quantized = draft.with_name(f"int8_{draft.name}")
    int8.quantize(draft, quantized, calibration.images, modules)
    cells, before = int8.require_detections(
        OnnxRuntime(quantized), OnnxRuntime(draft), calibration.images, metadata
    )
    return quantized, (
        f"counts {cells} cells in {len(calibration.images)} images of {calibration.dataset}, in "
        f"fp32 {before}"
    )
