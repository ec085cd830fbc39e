"""Turn a checkpoint of YOLOF's authors (github.com/chensnathan/YOLOF) into one of this project.

python tools/convert_yolof.py YOLOF_R50_C5_1x.pth yolof_coco.pth
python train_net.py --config-file configs/YOLOF/yolof_r50_c5_bccd.yaml MODEL.WEIGHTS yolof_coco.pth

For DC5: --config-file configs/YOLOF/yolof_r50_dc5_bccd.yaml. The number of classes is the file's;
fine-tuning begins with a new class layer.
"""

import argparse
import pkgutil
import sys

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch
from detectron2.modeling import build_model

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.console import script
from bccd.engine.checkpoint import read_checkpoint
from bccd.engine.converted_weights import write_converted


@script
def main(argv: list[str] | None = None) -> int:
    """Convert one file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="checkpoint of the authors (.pth)")
    parser.add_argument("target", help="file to write, for MODEL.WEIGHTS")
    parser.add_argument(
        "--config-file", default="configs/YOLOF/yolof_r50_c5_bccd.yaml", help="of the same model"
    )
    args = parser.parse_args(argv)
    convert(args.source, args.target, args.config_file)
    print(f"{args.target}: train with MODEL.WEIGHTS {args.target}")
    return 0


def convert(source: str, target: str, config_file: str) -> None:
    """Write the weights of ``source`` to ``target``, for the model of ``config_file``.

    Raises:
        ValueError: ``source`` is not of this model.
    """
    cfg = get_bccd_cfg()  # finds the projects
    convert_reference = pkgutil.resolve_name("bccd.projects.yolof.convert:convert_reference")
    read = read_checkpoint(source)["model"]
    try:
        weights = convert_reference({k: torch.as_tensor(v) for k, v in read.items()})
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    merge_yaml(cfg, config_file)
    cfg.MODEL.DEVICE = "meta"
    cfg.MODEL.YOLOF.NUM_CLASSES = _num_classes(weights, source)
    with torch.device("meta"):
        model = build_model(cfg)
    write_converted(weights, model, source, target)


def _num_classes(weights, source):
    names = [f"head.decoder.{layer}.bias" for layer in ("cls_score", "object_pred")]
    if not weights.keys() >= set(names):
        raise ValueError(f"{source} has no class scores and objectness: it is no YOLOF")
    scores, anchors = (len(weights[name]) for name in names)
    return scores // anchors


if __name__ == "__main__":
    sys.exit(main())
