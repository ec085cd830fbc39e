#!/usr/bin/env python
"""Count blood cells in images or a video: annotated pictures, detections.json and counts.csv.

Examples:
    python demo.py --input slides/ --output found
    python demo.py --config-file output/lite/config.yaml --input slides/ --output found \\
        --opts MODEL.WEIGHTS output/lite/model_best.pth
    python demo.py --model sparse_rcnn_lite --video-input smear.mp4 --output found
    python demo.py --runtime onnx ssd_lite.onnx --input slides/ --output found
"""

import argparse
import sys
from pathlib import Path

from detectron2.utils.logger import setup_logger

from bccd import model_zoo
from bccd.config import CLASS_NAMES, get_bccd_cfg
from bccd.data.inputs import find_images, picture_names
from bccd.export.runtime import ExportedPredictor
from bccd.visualization.demo import annotate_images, annotate_video

DEFAULT_THRESHOLD = 0.5


def get_parser():
    """Detectron2's demo flags."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    detector = parser.add_mutually_exclusive_group()
    detector.add_argument(
        "--model",
        metavar="NAME",
        default=model_zoo.DEFAULT_MODEL,
        help="a model that comes with the project: "
        f"{', '.join(model_zoo.list_models()) or 'none yet'}; default {model_zoo.DEFAULT_MODEL}",
    )
    detector.add_argument(
        "--config-file", metavar="FILE", help="yaml of another detector; --opts names its weights"
    )
    detector.add_argument(
        "--runtime",
        nargs=2,
        metavar=("RUNTIME", "FILE"),
        help="onnx and a file of tools/export_model.py: runs without Detectron2's models",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input", nargs="+", metavar="PATH", help="images, folders of images, or globs in quotes"
    )
    source.add_argument("--video-input", metavar="FILE", help="a video")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--confidence-threshold",
        type=float,
        metavar="SCORE",
        help="lowest score of a detection that counts, for every class; by default the operating "
        f"points stored with the checkpoint, or else {DEFAULT_THRESHOLD}",
    )
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help="config keys to change, at the end of the command line",
    )
    return parser


def setup_cfg(args):
    """Config from the flags, frozen."""
    cfg = get_bccd_cfg() if args.config_file else model_zoo.load_config(args.model)
    try:
        if args.config_file:
            cfg.merge_from_file(args.config_file)
        cfg.merge_from_list(args.opts)
    except (AssertionError, KeyError) as error:  # how yacs reports an unknown key
        raise ValueError(error.args[0]) from None
    cfg.freeze()
    return cfg


def build_predictor(args):
    """The predictor that the flags describe.

    Raises:
        FileNotFoundError, ValueError, ImportError: it cannot be built.
    """
    if args.runtime:
        if args.opts:
            raise ValueError("--opts: an exported model cannot be changed; export it again")
        return ExportedPredictor(*args.runtime)
    from bccd.engine.predictor import Predictor  # an exported model runs without the models' code

    return Predictor(setup_cfg(args))


def find_inputs(args):
    """Files that the flags name; an error if the output would replace one of them."""
    files = find_images(args.input or [args.video_input])
    names = picture_names(files) if args.input else [Path(files[0].stem + ".mp4")]
    for file, name in zip(files, names, strict=True):
        if Path(args.output, name).resolve() == file.resolve():
            raise FileExistsError(f"--output {args.output} would replace the input {file}")
    return files


def choose_thresholds(predictor, confidence_threshold, logger):
    """Score threshold per class name: the flag's, the checkpoint's, or the default."""
    if confidence_threshold is not None:
        return dict.fromkeys(CLASS_NAMES, confidence_threshold)
    if predictor.operating_points:
        return dict(predictor.operating_points)
    logger.warning(
        "The checkpoint has no operating points: every detection with a score of at least "
        f"{DEFAULT_THRESHOLD} counts. Choose another value with --confidence-threshold."
    )
    return dict.fromkeys(CLASS_NAMES, DEFAULT_THRESHOLD)


def main(argv=None, predictor=None):
    """Run the demo with ``predictor`` (see ``Predictor``), or the one that the config describes.

    Returns:
        exit status: 0, or 1 where images were skipped. A wrong command line exits with 2.
    """
    parser = get_parser()
    args = parser.parse_args(argv)
    logger = setup_logger(name="bccd")
    try:
        files = find_inputs(args)
        predictor = predictor or build_predictor(args)
    except (FileNotFoundError, FileExistsError, ValueError, ImportError) as error:
        parser.error(str(error))
    thresholds = choose_thresholds(predictor, args.confidence_threshold, logger)
    output = Path(args.output)
    output.mkdir(parents=True, exist_ok=True)

    if args.input:
        totals, broken = annotate_images(files, predictor, thresholds, output)
    else:
        totals, broken = annotate_video(files[0], predictor, thresholds, output)
    counts = ", ".join(f"{name} {count}" for name, count in totals.items())
    logger.info(f"{counts}. Pictures, counts.csv and detections.json are in {output}")
    if isinstance(predictor, ExportedPredictor):
        logger.info(predictor.describe_speed())
    if broken:
        names = "\n  ".join(str(file) for file in broken)
        logger.error(f"{len(broken)} of {len(files)} files could not be read:\n  {names}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
