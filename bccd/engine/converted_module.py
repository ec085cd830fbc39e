"""From a file that holds another program's whole model to a checkpoint of this project."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch
import yaml
from detectron2.modeling import build_model
from torch import Tensor

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.engine.converted_weights import write_converted
from bccd.engine.pickled_module import read_pickled_module


class Converted(Protocol):
    """Weights of another program by this project's names.

    Attributes:
        weights: by name.
        num_classes: that they tell apart.
    """

    weights: Mapping[str, Tensor]
    num_classes: int


def convert_module(
    source: Path,
    target: Path,
    convert: Callable[[Mapping[str, Tensor]], Converted],
    describe: Callable[[Converted], tuple[Path, dict]],
) -> Path:
    """Write the weights of a pickled module, and the config of their model beside them.

    Args:
        source: file of the other program; none of its code is run.
        target: file to write; the config has its name and ``.yaml``.
        convert: maps the weights; ValueError: they are of another model.
        describe: gives the config's ``_BASE_`` and its MODEL, without CLASS_NAMES.

    Returns:
        the config.

    Raises:
        ValueError: ``source`` is damaged or of another model.
    """
    read = read_pickled_module(source)
    try:
        converted = convert(read.weights)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    names = read.class_names
    if names and len(names) != converted.num_classes:
        raise ValueError(f"{source} names {len(names)} classes, but has {converted.num_classes}")
    target.parent.mkdir(parents=True, exist_ok=True)
    base, model = describe(converted)
    content = {
        "_BASE_": os.path.relpath(base, target.parent.resolve()),
        "MODEL": {"CLASS_NAMES": list(names or ()), **model},
    }
    config = target.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(content))
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(config))
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        built = build_model(cfg)
    write_converted(converted.weights, built, source, target, class_names=names)
    return config
