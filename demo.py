#!/usr/bin/env python
"""Count blood cells in images or a video, with the flags of Detectron2's demo.

    python demo.py --input slides/ --output found
    python demo.py --config-file output/lite/config.yaml --input slides/ --output found \\
        --opts MODEL.WEIGHTS output/lite/model_best.pth
    python demo.py --model sparse_rcnn_lite --video-input smear.mp4 --output found
    python demo.py --runtime onnx ssd_lite --input slides/ --output found
    python demo.py --input many/ --output found --no-pictures --num-gpus 2

Without CUDA, --num-gpus N starts N processes of the CPU; "bccd count --ray" counts on several
machines. A run that was cut short goes on when the
same command is started again. "bccd count" does the same with the options of the bccd command.

Exit status: 0 if every image was counted; 1 if an image could not be counted, was left out or is
not done yet; 2 if the command line is wrong; 130 after Ctrl-C. A count that should not be trusted
has a note in counts.csv and a line in the log, and does not change the status.
"""

import argparse
import sys
from collections.abc import Sequence

from bccd import model_zoo
from bccd.commands._counting import add_counting_options, counting_options
from bccd.commands._model import add_opts
from bccd.console import INTERRUPTED
from bccd.counting.load import ImagePredictor, ModelChoice
from bccd.counting.options import CountOptions
from bccd.detections import DEFAULT_THRESHOLD
from bccd.export.runtime import RUNTIMES


def main(argv: Sequence[str] | None = None, predictor: ImagePredictor | None = None) -> int:
    """Count with ``predictor``, or the one that the flags describe.

    Returns:
        exit status, see ``--help``. A wrong command line exits with 2.
    """
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    args = parser.parse_args(argv)
    from bccd.counting.run import prepare, run  # --help needs none of it

    try:
        try:
            job = prepare(to_options(args), predictor)
        except (OSError, ValueError, ImportError) as error:
            parser.error(str(error))
        return run(job)
    except KeyboardInterrupt:
        print("Interrupted: to go on, start the same command again", file=sys.stderr)
        return INTERRUPTED


def to_options(args: argparse.Namespace) -> CountOptions:
    """What the flags ask for."""
    runtime, model = args.runtime or (None, None if args.config_file else args.model)
    return CountOptions(
        output=args.output,
        inputs=tuple(args.input or ()),
        video=args.video_input,
        choice=ModelChoice(model, args.config_file, runtime, opts=tuple(args.opts)),
        thresholds=args.confidence_threshold,
        **counting_options(args),
    )


def score(text: str) -> float:
    """A score threshold of the command line as a number."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:  # nor NaN
        raise argparse.ArgumentTypeError(f"expected a score from 0 to 1, not {text}")
    return value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags, those of Detectron2's demo, to an ArgumentParser."""
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
        metavar=("RUNTIME", "MODEL"),
        help=f"{', '.join(RUNTIMES)}: which, and a model that comes with the project or a file of "
        "bccd export; onnx needs no PyTorch and is the default without it",
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input", nargs="+", metavar="PATH", help="images, folders of images, or globs in quotes"
    )
    source.add_argument("--video-input", metavar="FILE", help="a video")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the results")
    parser.add_argument(
        "--confidence-threshold",
        type=score,
        metavar="SCORE",
        help="lowest score of a detection that counts, for every class; by default the operating "
        f"points stored with the checkpoint, or else {DEFAULT_THRESHOLD}",
    )
    add_counting_options(parser)
    add_opts(parser, "to change")


if __name__ == "__main__":
    sys.exit(main())
