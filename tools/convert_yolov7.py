"""Turn a checkpoint of YOLOv7's authors (github.com/WongKinYiu/yolov7) into one of this project.

python tools/convert_yolov7.py yolov7.pt output/yolov7.pth
python train_net.py --config-file output/yolov7.yaml --eval-only MODEL.WEIGHTS output/yolov7.pth

Beside the weights it writes a config, with the anchors and the classes of the file. YOLOv7 and
YOLOv7-tiny of any classes; no code of the file is run.
"""

import argparse
import os
import pkgutil
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch
import yaml
from detectron2.modeling import build_model

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.engine.converted_weights import write_converted
from bccd.engine.pickled_module import read_pickled_module

CONFIGS = Path(__file__).resolve().parents[1] / "configs/YOLOv7"
FORMS = {"yolov7": CONFIGS / "yolov7_bccd.yaml", "tiny": CONFIGS / "yolov7_tiny_bccd.yaml"}


def main() -> None:
    """Convert one file; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="checkpoint of the authors' program (.pt)")
    parser.add_argument("target", type=Path, help="file to write, for MODEL.WEIGHTS (.pth)")
    parser.add_argument(
        "--activation", help="silu or leaky_relu; default: that of the published form"
    )
    args = parser.parse_args()
    try:
        config = convert(args.source, args.target, args.activation)
    except (ValueError, OSError) as error:
        raise SystemExit(f"convert_yolov7.py: {error}") from error
    print(f"{args.target}: use it with --config-file {config} MODEL.WEIGHTS {args.target}")


def convert(source: Path, target: Path, activation: str | None = None) -> Path:
    """Write weights to ``target`` and their config beside it.

    Args:
        source: checkpoint of the authors' program.
        target: file to write.
        activation: of all convolutions; None: that of the published form.

    Returns:
        the config.

    Raises:
        ValueError: ``source`` is damaged or of another model.
    """
    get_bccd_cfg()  # finds the projects
    convert_reference = pkgutil.resolve_name("bccd.projects.yolov7.convert:convert_reference")
    read = read_pickled_module(source)
    try:
        converted = convert_reference(read.weights)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    names = read.class_names
    if names and len(names) != converted.num_classes:
        raise ValueError(f"{source} names {len(names)} classes, but has {converted.num_classes}")
    config = _write_config(converted, names, target, activation)
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(config))
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"):
        model = build_model(cfg)
    write_converted(converted.weights, model, source, target, class_names=names)
    return config


def _write_config(converted, names, target, activation):
    node = {"NUM_CLASSES": converted.num_classes}
    if activation is not None:
        node["ACTIVATION"] = activation
    model = {
        "ANCHOR_GENERATOR": {"SIZES": converted.anchors.tolist()},
        "CLASS_NAMES": list(names or ()),
        "YOLOv7": node,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    base = os.path.relpath(FORMS[converted.form], target.parent.resolve())
    config = target.with_suffix(".yaml")
    config.write_text(yaml.safe_dump({"_BASE_": base, "MODEL": model}))
    return config


if __name__ == "__main__":
    main()
