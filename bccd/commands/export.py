"""Export a detector to a file that runs without this project, post-processing inside.

Examples:
    bccd export -o ssd_lite.onnx
    bccd export -o ssd_lite.pt2
    bccd export --model sparse_rcnn_lite -o sparse_rcnn_lite.onnx
    bccd export --model output/lite/model_best.pth -o mine.onnx
    bccd export --int8 --calibrate bccd_paper_train -o ssd_lite_int8.onnx

.onnx is for ONNX Runtime and OpenVINO, .pt2 is compiled by AOTInductor for this kind of CPU. The
file is run before it is kept: where a box or score differs from the eager model by more than 0.001,
none is written and the exit status is 1. --int8 quantizes the checked model (.onnx), for CPUs with
VNNI; "bccd evaluate" says what that costs. docs/deployment.md says how to use such files.
"""

import argparse
from pathlib import Path

from bccd.commands._model import add_checkpoint_options, model_choice, require_pytorch
from bccd.console import DONE, INCOMPLETE, refusing, show

SUMMARY = "write a detector as one file: ONNX, or compiled by PyTorch"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="FILE", help="ends in .onnx or .pt2"
    )
    parser.add_argument(
        "--check-images", nargs="+", metavar="PATH", help="default: synthetic smears"
    )
    parser.add_argument("--int8", action="store_true", help="8-bit integers where they do no harm")
    parser.add_argument("--calibrate", metavar="DATASET", help="of --int8: a data set")
    parser.add_argument("--calibration-images", type=int, default=32, metavar="N")
    add_checkpoint_options(parser)


def run(args: argparse.Namespace) -> int:
    """Export; returns the exit status."""
    with refusing():
        require_pytorch()
        from bccd.engine.trained_detector import load_for_inference
        from bccd.export.int8 import UselessCalibrationError
        from bccd.export.save import DifferentModelError, check_can_write, export_detector

        check_can_write(args.output, args.int8)
        cfg = _build_cfg(args)
        calibration = _read_calibration(cfg, args)
        images = _read_check_images(cfg, args.check_images)
        model, thresholds = load_for_inference(cfg)
    document = {"file": str(args.output), "written": False}
    try:
        # Not every detector has an exportable form, and some sizes cannot be traced.
        with refusing():
            found = export_detector(model, cfg, thresholds, args.output, images, calibration)
    except (DifferentModelError, UselessCalibrationError) as error:
        show(args, document | {"reason": str(error)}, str(error))
        return INCOMPLETE
    size = args.output.stat().st_size
    document |= {"written": True, "bytes": size, "check": found}
    show(args, document, f"{args.output}: {size / 1e6:.1f} MB; {found}")
    return DONE


def _build_cfg(args):
    """Config of the detector that the command line names, on the CPU, where files are checked."""
    from bccd.counting.load import build_cfg
    from bccd.engine.checkpoint import with_checkpoint_classes

    choice = model_choice(args)
    if choice.is_exported:
        raise ValueError(f"{choice.model} is an exported file already; name the checkpoint")
    cfg = with_checkpoint_classes(build_cfg(choice))
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    if cfg.TEST.AUG.ENABLED:
        raise ValueError("TEST.AUG.ENABLED: test-time augmentation cannot be exported; set False")
    return cfg


def _read_check_images(cfg, patterns):
    """The images to check with, resized as for testing; synthetic smears without ``patterns``."""
    from bccd.counting.inputs import find_images
    from bccd.data.images.decoding import read_bgr
    from bccd.data.transforms.augmentation import build_augmentations
    from bccd.export.check import check_images

    augmentation = build_augmentations(cfg, is_train=False)[0]

    def resize(image):
        image = image[:, :, ::-1] if cfg.INPUT.FORMAT == "RGB" else image
        return augmentation.get_transform(image).apply_image(image)

    if not patterns:
        return check_images(resize)
    return [resize(read_bgr(file)) for file in find_images(patterns).images]


def _read_calibration(cfg, args):
    """The Calibration that the command line names, or None for fp32."""
    if not args.int8:
        return None
    if not args.calibrate:
        raise ValueError("--int8 needs --calibrate and a data set, for example bccd_paper_train")
    from bccd.data.loading.loader import build_test_loader
    from bccd.data.sources.catalog import register_datasets
    from bccd.engine.setup import check_config
    from bccd.export.int8 import draw_calibration

    register_datasets()
    cfg = cfg.clone()
    cfg.DATASETS.TEST = (args.calibrate,)
    check_config(cfg, eval_only=True)
    dataset = build_test_loader(cfg, args.calibrate).dataset
    return draw_calibration(dataset, args.calibrate, args.calibration_images)
