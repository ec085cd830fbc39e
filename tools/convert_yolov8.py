"""Turn a checkpoint of the released YOLOv8 program into one of this project.

python tools/convert_yolov8.py yolov8n.pt output/yolov8n.pth
python train_net.py --config-file output/yolov8n.yaml --eval-only MODEL.WEIGHTS output/yolov8n.pth

Beside the weights it writes a config, with the size and the classes of the file. Detectors n, s, m,
l and x of any classes; no code of the file is run.
"""

import argparse
import os
import pkgutil
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch
import yaml
from detectron2.modeling import build_model

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.console import script
from bccd.engine.converted_weights import write_converted
from bccd.engine.pickled_module import read_pickled_module

CONFIGS = Path(__file__).resolve().parents[1] / "configs/YOLOv8"


@script
def main(argv: list[str] | None = None) -> int:
    """Convert one file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="checkpoint of the released program (.pt)")
    parser.add_argument("target", type=Path, help="file to write, for MODEL.WEIGHTS (.pth)")
    args = parser.parse_args(argv)
    config = convert(args.source, args.target)
    print(f"{args.target}: use it with --config-file {config} MODEL.WEIGHTS {args.target}")
    return 0


def convert(source: Path, target: Path) -> Path:
    """Write weights to ``target`` and their config beside it.

    Args:
        source: checkpoint of the released program.
        target: file to write.

    Returns:
        the config.

    Raises:
        ValueError: ``source`` is damaged or of another model.
    """
    get_bccd_cfg()  # finds the projects
    project = pkgutil.resolve_name("bccd.projects.yolov8.convert")
    read = read_pickled_module(source)
    try:
        converted = project.convert_reference(read.weights)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    names = read.class_names
    if names and len(names) != converted.num_classes:
        raise ValueError(f"{source} names {len(names)} classes, but has {converted.num_classes}")
    config = _write_config(converted, project.SIZES[converted.size], names, target)
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(config))
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg)
    write_converted(converted.weights, model, source, target, class_names=names)
    return config


def _write_config(converted, factors, names, target):
    base = CONFIGS / f"yolov8{converted.size}_bccd.yaml"
    if not base.is_file():  # l and x
        base = CONFIGS / "yolov8n_bccd.yaml"
    node = dict(zip(("DEPTH", "WIDTH", "MAX_CHANNELS"), factors, strict=True))
    node["NUM_CLASSES"] = converted.num_classes
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "_BASE_": os.path.relpath(base, target.parent.resolve()),
        "MODEL": {"CLASS_NAMES": list(names or ()), "YOLOv8": node},
    }
    config = target.with_suffix(".yaml")
    config.write_text(yaml.safe_dump(content))
    return config


if __name__ == "__main__":
    sys.exit(main())
