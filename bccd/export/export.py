"""A trained detector to a checked file."""

import os
import tempfile
from pathlib import Path

from bccd.export.check import find_differences
from bccd.export.detector import exportable
from bccd.export.metadata import Metadata
from bccd.export.onnx_file import check_can_write, trace, write_onnx
from bccd.export.runtime import OnnxRuntime


class DifferentModelError(Exception):
    """The exported detector does not detect what the eager one detects."""


def export_detector(model, cfg, thresholds, path, images):
    """Write ``model`` to ``path``, once the file's detections are those of the model.

    A file that is there already stays as it is where anything fails.

    Args:
        model (nn.Module): an eager detector on the CPU, with its weights.
        cfg (CfgNode): that it was built from.
        thresholds: {class name: score} or None, to store in the file.
        path: ends in .onnx.
        images (list): uint8 arrays (H, W, 3), resized as for testing, to check with.

    Raises:
        ValueError, ImportError: see ``onnx_file.check_can_write`` and ``exportable``.
        DifferentModelError: the detections differ; nothing was written.
    """
    path = Path(path)
    check_can_write(path)
    detector = exportable(model)
    strings = Metadata.build(cfg, thresholds, detector.max_detections).to_strings()
    program = trace(detector, cfg.INPUT.FIXED_SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        draft = Path(folder, path.name)
        write_onnx(program, draft, strings)
        differences = find_differences(detector, OnnxRuntime(draft), images)
        if differences:
            raise DifferentModelError(
                f"{path} was not written: its detections differ from those of the eager model in "
                f"{len(differences)} places, the first:\n  " + "\n  ".join(differences[:5])
            )
        os.replace(draft, path)
