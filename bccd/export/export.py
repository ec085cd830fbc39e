"""A trained detector to a checked file."""

import os
import tempfile
from pathlib import Path

from bccd.export.check import find_differences
from bccd.export.detector import exportable
from bccd.export.formats import WRITERS, check_suffix, trace
from bccd.export.metadata import Metadata
from bccd.export.runtime import load


class DifferentModelError(Exception):
    """The exported detector does not detect what the eager one detects."""


def export_detector(model, cfg, thresholds, path, images):
    """Write ``model`` to ``path``, once the file's detections are those of the model.

    A file that is there already stays as it is where anything fails.

    Args:
        model (nn.Module): an eager detector on the CPU, with its weights.
        cfg (CfgNode): that it was built from.
        thresholds: {class name: score} or None, to store in the file.
        path: ends in .onnx or .pt2.
        images (list): uint8 arrays (H, W, 3), resized as for testing, to check with.

    Raises:
        ValueError, ImportError: see ``formats.check_suffix`` and ``exportable``.
        DifferentModelError: the detections differ; nothing was written.
    """
    path = Path(path)
    suffix = check_suffix(path)
    detector = exportable(model)
    strings = Metadata.build(cfg, thresholds, detector.max_detections).to_strings()
    program = trace(detector, cfg.INPUT.FIXED_SIZE)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        draft = Path(folder, path.name)
        WRITERS[suffix](program, draft, strings)
        differences = find_differences(detector, load(draft), images)
        if differences:
            raise DifferentModelError(
                f"{path} was not written: its detections differ from those of the eager model in "
                f"{len(differences)} places, the first:\n  " + "\n  ".join(differences[:5])
            )
        os.replace(draft, path)
