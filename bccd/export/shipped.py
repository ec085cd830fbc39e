"""Exporting the models that ship: ``models/<name>.onnx``, checked, and small."""

import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

import torch
from detectron2.config import CfgNode

from bccd import model_zoo
from bccd.engine.checkpoint import with_checkpoint_classes
from bccd.engine.shipped_models import load_config
from bccd.engine.trained_detector import load_for_inference
from bccd.export.check import check_images, find_differences
from bccd.export.detector import exportable, is_exportable
from bccd.export.half_weights import store_in_half
from bccd.export.metadata import Metadata
from bccd.export.runtime import OnnxRuntime, resize_for
from bccd.export.save import DifferentModelError, export_detector
from bccd.export.shared_weights import share_weights
from bccd.model_card import write_card
from bccd.model_zoo import sha256


def write_export(cfg: CfgNode, weights: Path, path: Path, *, ships: bool = True) -> dict | None:
    """Write the ``.onnx`` file of a shipped model, once it detects what the checkpoint does.

    Args:
        cfg: of the shipped model, see ``config_to_ship``.
        weights: its ``.safetensors`` file.
        path: to write.
        ships: with the project, whose files are limited in size: it takes its weights from the
            ``.safetensors`` file, which stays beside it.

    Returns:
        what the card says of the file; None where the model has no exportable form.

    Raises:
        ValueError: the file would be too large to ship.
        DifferentModelError: the detections differ; nothing was written.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE, shipped_as = "cpu", cfg.MODEL.WEIGHTS
    cfg.MODEL.WEIGHTS = str(weights)
    cfg = with_checkpoint_classes(cfg)
    model, thresholds = load_for_inference(cfg)
    cfg.MODEL.WEIGHTS = shipped_as
    if not is_exportable(model):
        return None
    detector = exportable(model)
    images = check_images(partial(resize_for, Metadata.build(cfg, thresholds, detector)))
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        draft = Path(folder, path.name)
        export_detector(model, cfg, thresholds, draft, images)
        store_in_half(draft, {f"model.{k}": v.numpy() for k, v in model.state_dict().items()})
        if ships:
            shutil.copy(weights, folder)
            share_weights(draft, Path(folder, weights.name))
        if differences := find_differences(detector, OnnxRuntime(draft), images):
            raise DifferentModelError(f"{path} was not written:\n  " + "\n  ".join(differences[:5]))
        if ships:
            model_zoo.check_sizes(path, draft.stat().st_size)
        os.replace(draft, path)
    return {
        "file": path.name,
        "bytes": path.stat().st_size,
        "sha256": sha256(path),
        "weights_sha256": sha256(weights),
        "written_by": f"PyTorch {torch.__version__}",
    }


def renew_export(name: str) -> dict:
    """Write ``models/<name>.onnx`` anew, and what the card says of it.

    Returns:
        as :func:`write_export`.

    Raises:
        FileNotFoundError, ValueError: see ``model_zoo.find_weights`` and :func:`write_export`.
        DifferentModelError: see there.
    """
    card = model_zoo.load_card(name)
    path = model_zoo.MODELS / f"{name}.onnx"
    export = write_export(load_config(name), model_zoo.find_weights(name), path)
    if export is None:
        raise ValueError(f"{name}: this kind of detector has no exportable form")
    write_card(card | {"export": export}, model_zoo.MODELS)
    return export
