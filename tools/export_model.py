#!/usr/bin/env python3
"""Export a detector to a file that runs without this project, post-processing inside.

    python tools/export_model.py --output ssd_lite.onnx
    python tools/export_model.py --output ssd_lite.pt2
    python tools/export_model.py --model sparse_rcnn_lite --output sparse_rcnn_lite.onnx
    python tools/export_model.py --config-file output/lite/config.yaml --output mine.onnx \\
        MODEL.WEIGHTS output/lite/model_best.pth
    python tools/export_model.py --int8 --calibrate bccd_paper_train --output ssd_lite_int8.onnx

.onnx is for ONNX Runtime and OpenVINO, .pt2 is compiled by AOTInductor for this kind of CPU. The
file is run before it is kept: where a box or score differs from the eager model by more than 0.001,
none is written and the exit status is 1. --int8 quantizes the checked model (.onnx), for CPUs with
VNNI; tools/evaluate_export.py says what that costs. docs/deployment.md says how to use such files.
"""

import argparse
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.config import CfgNode

from bccd.counting.inputs import find_images
from bccd.data.images.decoding import read_bgr
from bccd.data.loading.loader import build_test_loader
from bccd.data.sources.catalog import register_datasets
from bccd.data.transforms.augmentation import build_augmentations
from bccd.engine.detector_flags import add_detector_flags, detector_cfg
from bccd.engine.setup import check_config
from bccd.engine.trained_detector import load_for_inference
from bccd.export.check import check_images
from bccd.export.int8 import UselessCalibrationError, draw_calibration
from bccd.export.save import DifferentModelError, check_can_write, export_detector

REFUSALS = (OSError, ValueError, ImportError, DifferentModelError, UselessCalibrationError)


def build_cfg(args: argparse.Namespace) -> CfgNode:
    """Config of the detector that the command line names, on the CPU, where files are checked."""
    cfg = detector_cfg(args)
    cfg.MODEL.DEVICE = "cpu"
    if cfg.TEST.AUG.ENABLED:
        raise ValueError("TEST.AUG.ENABLED: test-time augmentation cannot be exported; set False")
    return cfg


def read_check_images(cfg: CfgNode, patterns: list[str]) -> list:
    """The images to check with, resized as for testing; synthetic smears without ``patterns``."""
    augmentation = build_augmentations(cfg, is_train=False)[0]

    def resize(image):
        image = image[:, :, ::-1] if cfg.INPUT.FORMAT == "RGB" else image
        return augmentation.get_transform(image).apply_image(image)

    if not patterns:
        return check_images(resize)
    return [resize(read_bgr(file)) for file in find_images(patterns).images]


def read_calibration(cfg: CfgNode, args: argparse.Namespace) -> list:
    """The Calibration that the command line names, or None for fp32."""
    if not args.int8:
        return None
    if not args.calibrate:
        raise ValueError("--int8 needs --calibrate and a data set, for example bccd_paper_train")
    register_datasets()
    cfg = cfg.clone()
    cfg.DATASETS.TEST = (args.calibrate,)
    check_config(cfg, eval_only=True)
    dataset = build_test_loader(cfg, args.calibrate).dataset
    return draw_calibration(dataset, args.calibrate, args.calibration_images)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_detector_flags(parser)
    parser.add_argument(
        "--output", required=True, type=Path, metavar="FILE", help="ends in .onnx or .pt2"
    )
    parser.add_argument(
        "--check-images", nargs="+", metavar="PATH", help="default: synthetic smears"
    )
    parser.add_argument("--int8", action="store_true", help="8-bit integers where they do no harm")
    parser.add_argument("--calibrate", metavar="DATASET", help="of --int8: a registered data set")
    parser.add_argument("--calibration-images", type=int, default=32, metavar="N")
    parser.add_argument("opts", nargs="*", default=[], help="KEY VALUE pairs")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    args = parse_arguments(argv)
    try:
        check_can_write(args.output, args.int8)
        cfg = build_cfg(args)
        calibration = read_calibration(cfg, args)
        images = read_check_images(cfg, args.check_images)
        model, thresholds = load_for_inference(cfg)
        found = export_detector(model, cfg, thresholds, args.output, images, calibration)
    except REFUSALS as error:
        print(f"export_model: {error}", file=sys.stderr)
        return 1
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.1f} MB; {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
