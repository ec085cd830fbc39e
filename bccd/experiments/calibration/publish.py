"""A calibrated model as a folder: weights, ONNX file, config and card.

Where PyTorch is not installed, or the model is an ONNX file, the folder has the ONNX file alone.
"""

import dataclasses
import datetime
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from bccd import model_zoo
from bccd.atomic_files import write_atomically
from bccd.counting.load import ModelChoice
from bccd.experiments.calibration.card import to_markdown
from bccd.export.metadata import Metadata
from bccd.export.onnx_metadata import with_strings
from bccd.export.onnx_weights import with_own_weights
from bccd.export.runtime import OnnxRuntime, find_file

if TYPE_CHECKING:  # a light install calibrates without it
    from detectron2.config import CfgNode

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Values:
    """What a calibration changes beside the weights.

    Attributes:
        thresholds: {class name: score}.
        expected_diameter: COUNTING.EXPECTED_DIAMETER; None: as the model has it.
        at_magnification: whether the model counts at the magnification that it knows.
        intervals: COUNTING.INTERVALS, see ``CountIntervals.to_dict``; None: there are none.
    """

    thresholds: dict[str, float]
    expected_diameter: float | None
    at_magnification: bool
    intervals: dict | None = None


def card_of(choice: ModelChoice) -> dict | None:
    """The card of the model that is calibrated: a shipped one's, or that beside its file."""
    if choice.shipped_name:
        return model_zoo.load_card(choice.shipped_name)
    path = Path(choice.model or "").with_suffix(".json")
    if not choice.model or not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) and "class_names" in content else None


def publish_exported(
    choice: ModelChoice, values: Values, folder: Path, name: str, calibration: dict
) -> dict:
    """Publish a model that was calibrated as an ONNX file; returns the card, written last."""
    source = find_file(choice.runtime, choice.shipped_name or choice.model)
    folder.mkdir(parents=True, exist_ok=True)
    export = _copy_export(source, folder / f"{name}{source.suffix}", values)
    base = card_of(choice)
    facts = {"file": export["file"], "bytes": export["bytes"], "sha256": export["sha256"]}
    return _write_card(base, folder, name, {**facts, "export": None}, calibration)


def publish_checkpoint(
    choice: ModelChoice,
    cfg: "CfgNode",
    values: Values,
    folder: Path,
    name: str,
    calibration: dict,
    tuned: Path | None = None,
) -> dict:
    """Publish a model in PyTorch.

    Args:
        choice: the model that was calibrated.
        cfg: its config; MODEL.WEIGHTS names its weights.
        values: to publish.
        folder: made if it is not there.
        name: of the new model.
        calibration: for the card.
        tuned: the checkpoint of a fine-tuning; None: the weights stay.

    Returns:
        the card, written last.
    """
    from detectron2.utils.file_io import PathManager

    from bccd.engine.checkpoint import with_checkpoint_classes
    from bccd.export.publish import CONFIG_NAME
    from bccd.model_card import config_to_ship

    folder.mkdir(parents=True, exist_ok=True)
    source = tuned or Path(PathManager.get_local_path(cfg.MODEL.WEIGHTS))
    weights = folder / f"{name}.safetensors"
    shipped = config_to_ship(with_checkpoint_classes(cfg), name)
    content = _weights(source, shipped, values, is_tuned=tuned is not None)
    write_atomically(weights, lambda file: file.write(content))
    _set_values(shipped, values)
    shipped.MODEL.WEIGHTS = str(weights)
    text = shipped.dump().encode()
    write_atomically(folder / CONFIG_NAME, lambda file: file.write(text))
    export = _export(choice, shipped, weights, values, is_tuned=tuned is not None)
    facts = {
        "file": weights.name,
        "bytes": weights.stat().st_size,
        "sha256": model_zoo.sha256(weights),
        "export": export,
    }
    base = card_of(choice)
    return _write_card(base, folder, name, facts, calibration, config=shipped)


def _weights(source, cfg, values, *, is_tuned):
    """The content of the weights file: as it is, where it is one and was not trained."""
    from bccd.engine.checkpoint import read_checkpoint
    from bccd.export.publish import encode_checkpoint

    if not is_tuned and source.suffix == ".safetensors":
        return source.read_bytes()
    checkpoint = read_checkpoint(source)
    if not checkpoint.get("operating_points"):
        unknown = dict.fromkeys(("precision", "recall", "f1"))
        checkpoint["operating_points"] = {
            name: {"threshold": score, **unknown} for name, score in values.thresholds.items()
        }
    return encode_checkpoint(checkpoint, cfg)


def _set_values(cfg, values):
    scores = tuple(values.thresholds.values())
    if values.at_magnification:
        cfg.COUNTING.THRESHOLDS = scores
    else:
        cfg.TEST.OPERATING_POINTS = scores
    if values.expected_diameter is not None:
        cfg.COUNTING.EXPECTED_DIAMETER = values.expected_diameter
    for key, value in (values.intervals or {}).items():
        cfg.COUNTING.INTERVALS[key.upper()] = tuple(value)


def _export(choice, cfg, weights, values, *, is_tuned):
    """Write the ONNX file; what the card says of it, or None where there can be none."""
    path = weights.with_suffix(".onnx")
    if choice.shipped_name and not is_tuned and not choice.opts:
        export = model_zoo.load_card(choice.shipped_name).get("export")
        if export:
            facts = _copy_export(model_zoo.find_export(choice.shipped_name), path, values)
            return {**export, **facts}
    try:
        from bccd.export.save import DifferentModelError
        from bccd.export.shipped import write_export

        return write_export(cfg, weights, path, ships=False)
    except (ImportError, ValueError, DifferentModelError) as error:
        logger.warning(f"No ONNX file is written: {error}")
        return None


def _copy_export(source, path, values):
    """Copy an ONNX file with other values in its metadata."""
    metadata = Metadata.from_strings(OnnxRuntime(source).strings, source)
    key = "counting_thresholds" if values.at_magnification else "thresholds"
    changes = {key: values.thresholds}
    if values.expected_diameter is not None:
        changes["expected_diameter"] = values.expected_diameter
    if values.intervals is not None:
        changes["count_intervals"] = values.intervals
    strings = dataclasses.replace(metadata, **changes).to_strings()
    content = with_own_weights(with_strings(source.read_bytes(), strings), source.parent)
    write_atomically(path, lambda file: file.write(content))
    return {"file": path.name, "bytes": len(content), "sha256": model_zoo.sha256(path)}


def _write_card(base, folder, name, facts, calibration, config=None):
    known = base or {}
    kept = ("class_names", "intended_use", "limits", "training")
    card = {
        "name": name,
        **facts,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        **{key: known[key] for key in kept if key in known},
        "class_names": list(calibration["thresholds"]),
        "calibration": calibration,
        "config": None if config is None else _as_dict(config),
    }
    page = to_markdown(card, os.path.relpath(folder)).encode()
    write_atomically(folder / f"{name}.md", lambda file: file.write(page))
    text = (json.dumps(card, indent=2) + "\n").encode()
    write_atomically(folder / f"{name}.json", lambda file: file.write(text))
    return card


def _as_dict(config):
    import yaml

    return yaml.safe_load(config.dump())
