#!/usr/bin/env python
"""Count blood cells in images or a video: annotated pictures, detections.json and counts.csv.

Examples:
    python demo.py --input slides/ --output found
    python demo.py --config-file output/lite/config.yaml --input slides/ --output found \\
        --opts MODEL.WEIGHTS output/lite/model_best.pth
    python demo.py --model sparse_rcnn_lite --video-input smear.mp4 --output found
    python demo.py --runtime onnx ssd_lite.onnx --input slides/ --output found
    python demo.py --input many/ --output found --no-pictures --num-gpus 2
    torchrun --nproc_per_node 2 demo.py --input many/ --output found

Without CUDA, --num-gpus N starts N processes of the CPU. A run that was cut short goes on when the
same command is started again.

Exit status: 0 if every image was counted; 1 if an image could not be counted, was left out or is
not done yet; 2 if the command line is wrong. A count that should not be trusted has a note in
counts.csv and a line in the log, and does not change the status.
"""

import argparse
import logging
import os
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.utils import comm
from detectron2.utils.logger import setup_logger
from torch.multiprocessing.spawn import ProcessException

from bccd import model_zoo
from bccd.config import get_bccd_cfg
from bccd.data.classes import CLASS_NAMES
from bccd.data.inputs import find_images, picture_names
from bccd.engine.launch import is_under_torchrun, launch
from bccd.engine.shipped_models import load_config
from bccd.export.runtime import RUNTIMES, ExportedPredictor
from bccd.visualization.demo import annotate_images, annotate_video
from bccd.visualization.detection_files import CSV_NAME, printable
from bccd.visualization.progress import Merged, Progress, Task

DEFAULT_THRESHOLD = 0.5
NAMED = 20  # images that the log names; counts.csv has all of them
TIMEOUT = timedelta(days=7)  # how long the fastest process waits for the slowest; deaths are seen

logger = logging.getLogger("bccd.demo")


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
        help=f"{', '.join(RUNTIMES)}: which, and a file of tools/export_model.py; runs without the "
        "models' code",
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
        "--no-pictures", action="store_true", help="write counts and detections only: faster"
    )
    parser.add_argument(
        "--num-gpus",
        type=int,
        default=1,
        metavar="N",
        help="processes that share the images: one on each of N GPUs, or N on the CPU",
    )
    parser.set_defaults(num_machines=1, machine_rank=0, dist_url="auto")  # several: torchrun
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
    cfg = get_bccd_cfg() if args.config_file else load_config(args.model)
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
    """Images that the flags name, as Tasks, and what their folders hold beside (list of LeftOut).

    Raises:
        FileExistsError: the results would lie beside the images, or replace one.
    """
    images, left_out = find_images(args.input or [args.video_input])
    names = picture_names(images) if args.input else [Path(images[0].path.stem + ".mp4")]
    if args.no_pictures:
        names = [None] * len(images)
    output = Path(args.output).resolve()
    for image, name in zip(images, names, strict=True):
        path = image.path.resolve()
        if name and (output / name == path or (args.input and output in path.parents)):
            raise FileExistsError(
                f"--output {args.output} holds the input {image}: pictures would replace images, "
                "or be taken for some; name another folder"
            )
    return [Task(*each) for each in zip(images, names, strict=True)], left_out


def choose_thresholds(predictor, confidence_threshold):
    """Score threshold per class name: the flag's, the checkpoint's, or the default."""
    if confidence_threshold is not None:
        return dict.fromkeys(CLASS_NAMES, confidence_threshold)
    if predictor.operating_points:
        return {name: predictor.operating_points[name] for name in CLASS_NAMES}
    logger.warning(
        "The checkpoint has no operating points: every detection with a score of at least "
        f"{DEFAULT_THRESHOLD} counts. Choose another value with --confidence-threshold."
    )
    return dict.fromkeys(CLASS_NAMES, DEFAULT_THRESHOLD)


def describe_settings(predictor, thresholds):
    """What the detections depend on beside the images."""
    identity = getattr(predictor, "identity", type(predictor).__name__)
    return {"model": identity, "threshold": thresholds}


def count_share(args, *, tasks, predictor=None):
    """Run in every process: detect in its share of the images that are not finished."""
    setup_logger(distributed_rank=comm.get_rank(), name="bccd")
    predictor = predictor or build_predictor(args)
    thresholds = choose_thresholds(predictor, args.confidence_threshold)
    progress, left = Progress(args.output, tasks), None
    if comm.is_main_process():
        left = progress.start(describe_settings(predictor, thresholds))
    left = comm.all_gather(left)[0]
    share = left[comm.get_rank() :: comm.get_world_size()]
    with progress.part(comm.get_rank()) as part:
        annotate_images(share, predictor, thresholds, args.output, part)
    if args.runtime:
        logger.info(predictor.describe_speed())


def report(done, args):
    """Log how a run ended (see ``Merged``); returns the exit status."""
    count = done.counted + len(done.failed) + len(done.undone)
    if done.counted:
        counts = ", ".join(f"{name} {number}" for name, number in done.totals.items())
        logger.info(f"{counts} in {done.counted} images. The results are in {args.output}")
    else:
        logger.error("No image was counted")
    if done.noted:
        logger.warning(
            f"{done.noted} of {done.counted} counts should not be trusted: the notes in "
            f"{Path(args.output, CSV_NAME)} say why"
        )
    if done.undone:
        logger.error(
            f"{len(done.undone)} of {count} images are not done yet: start the same command again"
        )
    if done.failed:
        lines = [f"\n  {printable(name)}: {why}" for name, why in done.failed.items()]
        more = f"\n  and more; all are in {Path(args.output, CSV_NAME)}"
        logger.error(
            f"{len(lines)} of {count} images could not be counted:"
            f"{''.join(lines[:NAMED])}{more if len(lines) > NAMED else ''}"
        )
    return 1 if done.failed or done.undone else 0


def report_left_out(left_out):
    """Log what was not counted though it may have been meant; returns the exit status."""
    for path, reason in left_out:
        logger.error(f"Left out: {path} ({reason})")
    return 1 if left_out else 0


def count_images(args, tasks, predictor):
    """Detect in images with every process there is; returns the exit status."""
    share = partial(count_share, tasks=tasks, predictor=predictor)

    def merge():
        return report(Progress(args.output, tasks).merge(), args)

    try:
        return launch(share, args, after=merge, timeout=TIMEOUT)
    except ProcessException as error:
        logger.error(f"A process of --num-gpus {args.num_gpus} ended early: {error}")
        return 1


def count_frames(args, video, predictor):
    """Detect in the frames of a video, in this process; returns the exit status."""
    thresholds = choose_thresholds(predictor, args.confidence_threshold)
    settings, pictures = describe_settings(predictor, thresholds), not args.no_pictures
    table = annotate_video(video, predictor, thresholds, args.output, settings, pictures)
    failed = {} if table.images else {video.name: "unreadable: not a video that OpenCV can decode"}
    return report(Merged(table.totals, table.counted, table.noted, failed, []), args)


def main(argv=None, predictor=None):
    """Run the demo with ``predictor`` (see ``Predictor``), or the one that the config describes.

    Returns:
        exit status 0 or 1, see the top of this file. A wrong command line exits with 2.
    """
    parser = get_parser()
    args = parser.parse_args(argv)
    setup_logger(distributed_rank=int(os.environ.get("RANK", 0)), name="bccd")
    alone = args.num_gpus == 1 and not is_under_torchrun()
    try:
        if args.video_input and not alone:
            raise ValueError("--video-input is for one process: leave --num-gpus and torchrun away")
        tasks, left_out = find_inputs(args)
        if alone:  # the processes of a larger run build their own
            predictor = predictor or build_predictor(args)
        elif not args.runtime:
            setup_cfg(args)  # its errors, before there are processes
    except (FileNotFoundError, FileExistsError, ValueError, ImportError) as error:
        parser.error(str(error))
    Path(args.output).mkdir(parents=True, exist_ok=True)
    if args.video_input:
        return count_frames(args, tasks[0].file.path, predictor)
    status = count_images(args, tasks, predictor)
    return report_left_out(left_out) or status


if __name__ == "__main__":
    sys.exit(main())
