"""Publishing a trained model: weights in half precision, and what exactly they achieve."""

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from detectron2.config import CfgNode

from bccd.atomic_files import write_atomically
from bccd.data.sources.by_path import folder_name
from bccd.engine.checkpoint import read_checkpoint
from bccd.engine.evaluate import evaluate
from bccd.engine.weights_file import SUFFIX, encode_weights, to_half
from bccd.export.save import DifferentModelError
from bccd.export.shipped import write_export
from bccd.model_card import build_card, config_to_ship, write_card

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.yaml"  # beside the weights, where bccd count looks for it


def encode_checkpoint(checkpoint: dict, cfg: CfgNode) -> bytes:
    """Content of the ``.safetensors`` file of a checkpoint, with its operating points and classes.

    Args:
        checkpoint: as it was saved.
        cfg: of the model; names the classes.

    Raises:
        ValueError: there are no operating points.
    """
    points = checkpoint.get("operating_points")
    if not points:
        raise ValueError(
            "the checkpoint has no operating points. Publish one that was validated (model_best), "
            "or choose them with tools/choose_operating_points.py"
        )
    classes = {"class_names": cfg.MODEL.CLASS_NAMES, "class_colors": cfg.MODEL.CLASS_COLORS}
    return encode_weights(to_half(checkpoint["model"]), points, classes)


def evaluate_file(cfg: CfgNode, weights: Path, folder: Path) -> dict:
    """What ``--eval-only MODEL.WEIGHTS weights`` measures on DATASETS.VAL and DATASETS.TEST.

    Args:
        cfg: of the model.
        weights: file to evaluate.
        folder: the results of each data set go to a folder in it.

    Returns:
        data set -> content of its ``evaluation.json``.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(weights)
    results = {}
    for name in dict.fromkeys((*cfg.DATASETS.VAL, *cfg.DATASETS.TEST)):
        cfg.DATASETS.TEST = (name,)
        cfg.OUTPUT_DIR = str(folder / folder_name(name))
        evaluate(cfg)
        results[name] = json.loads(Path(cfg.OUTPUT_DIR, "inference/evaluation.json").read_text())
    return results


def publish_to_folder(
    cfg: CfgNode,
    checkpoint: Path,
    folder: Path,
    name: str,
    counting_thresholds: Callable[[CfgNode], Sequence[float]],
    *,
    command: str,
    commit: str,
) -> dict:
    """Write a model to a folder of its own; the card is written last.

    ``<name>.safetensors``, ``config.yaml``, ``<name>.json`` and ``<name>.md``; the same detector as
    ``<name>.onnx``, where it can be exported; and the evaluation of the weights in ``evaluation/``.

    Args:
        cfg: of the training.
        checkpoint: with operating points.
        folder: made if it is not there.
        name: of the model.
        counting_thresholds: gives COUNTING.THRESHOLDS of the published model, from its config.
        command: that trained the model.
        commit: of the code that trained it, or what is known of it.

    Returns:
        the card.

    Raises:
        FileNotFoundError, ValueError: the checkpoint cannot be published.
    """
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{name}{SUFFIX}"
    loaded = read_checkpoint(checkpoint)
    content = encode_checkpoint(loaded, cfg)
    write_atomically(weights, lambda file: file.write(content))
    shipped = config_to_ship(cfg, name)
    shipped.MODEL.WEIGHTS = str(weights)
    if not shipped.COUNTING.THRESHOLDS:
        shipped.COUNTING.THRESHOLDS = tuple(counting_thresholds(shipped))
    text = shipped.dump().encode()
    write_atomically(folder / CONFIG_NAME, lambda file: file.write(text))
    evaluations = evaluate_file(shipped, weights, folder / "evaluation")
    export = _export(shipped, weights)
    facts = {"command": command, "commit": commit, "export": export}
    card = build_card(name, weights, cfg, loaded, evaluations, **facts)
    card["config"]["MODEL"]["WEIGHTS"] = str(weights)
    card["config"]["COUNTING"]["THRESHOLDS"] = list(shipped.COUNTING.THRESHOLDS)
    write_card(card, folder)
    return card


def _export(cfg, weights):
    """What the card says of the .onnx file, or None; a training does not fail for want of it."""
    try:
        export = write_export(cfg, weights, weights.with_suffix(".onnx"), ships=False)
        reason = "this kind of detector has no exportable form"
    except (DifferentModelError, ImportError, ValueError) as error:
        export, reason = None, str(error)
    if export is None:
        logger.warning(f"No .onnx file is published: {reason}")
    return export
