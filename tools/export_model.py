#!/usr/bin/env python3
"""Export a detector to an ONNX file that runs without this project, post-processing inside.

    python tools/export_model.py --output ssd_lite.onnx
    python tools/export_model.py --model sparse_rcnn_lite --output sparse_rcnn_lite.onnx
    python tools/export_model.py --config-file output/lite/config.yaml --output mine.onnx \\
        MODEL.WEIGHTS output/lite/model_best.pth

The file is run in ONNX Runtime before it is kept: where a box or score differs from the eager model
by more than 0.001, none is written and the exit status is 1. docs/deployment.md says how to use it.
"""

import argparse
import sys
from pathlib import Path

from bccd import model_zoo
from bccd.config import get_bccd_cfg
from bccd.data.augmentation import build_augmentations
from bccd.data.inputs import find_images, read_bgr
from bccd.engine.predictor import load_for_inference
from bccd.engine.setup import merge
from bccd.export.check import TOLERANCE, check_images
from bccd.export.export import DifferentModelError, export_detector
from bccd.export.onnx_file import check_can_write


def build_cfg(args):
    """Config of the detector that the command line names, on the CPU, where files are checked."""
    cfg = get_bccd_cfg() if args.config_file else model_zoo.load_config(args.model)
    merge(cfg, args.config_file or "", args.opts)
    cfg.MODEL.DEVICE = "cpu"
    if cfg.TEST.AUG.ENABLED:
        raise ValueError("TEST.AUG.ENABLED: test-time augmentation cannot be exported; set False")
    return cfg


def read_check_images(cfg, patterns):
    """The images to check with, resized as for testing; synthetic smears without ``patterns``."""
    augmentation = build_augmentations(cfg, is_train=False)[0]

    def resize(image):
        image = image[:, :, ::-1] if cfg.INPUT.FORMAT == "RGB" else image
        return augmentation.get_transform(image).apply_image(image)

    if not patterns:
        return check_images(resize)
    return [resize(read_bgr(file)) for file in find_images(patterns)]


def main(argv=None):
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    detector = parser.add_mutually_exclusive_group()
    detector.add_argument("--model", default=model_zoo.DEFAULT_MODEL, help="a shipped model")
    detector.add_argument("--config-file", metavar="FILE", help="yaml of another detector")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE", help="ends in .onnx")
    parser.add_argument(
        "--check-images", nargs="+", metavar="PATH", help="default: synthetic smears"
    )
    parser.add_argument("opts", nargs="*", default=[], help="KEY VALUE pairs")
    args = parser.parse_args(argv)
    try:
        check_can_write(args.output)
        cfg = build_cfg(args)
        images = read_check_images(cfg, args.check_images)
        model, thresholds = load_for_inference(cfg)
        export_detector(model, cfg, thresholds, args.output, images)
    except (OSError, ValueError, ImportError, DifferentModelError) as error:
        print(f"export_model: {error}", file=sys.stderr)
        return 1
    print(
        f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB; detects what the eager model "
        f"does in {len(images)} images, to {TOLERANCE}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
