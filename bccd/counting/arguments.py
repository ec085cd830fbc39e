"""The flags of counting, which ``bccd count`` and ``demo.py`` share."""

import argparse

from bccd import model_zoo
from bccd.export.runtime import RUNTIMES

DEFAULT_THRESHOLD = 0.5
DESCRIPTION = """\
Count blood cells in images or a video: annotated pictures, detections.json and counts.csv.

Examples:
    %(prog)s --input slides/ --output found
    %(prog)s --config-file output/lite/config.yaml --input slides/ --output found \\
        --opts MODEL.WEIGHTS output/lite/model_best.pth
    %(prog)s --model sparse_rcnn_lite --video-input smear.mp4 --output found
    %(prog)s --runtime onnx ssd_lite --input slides/ --output found
    %(prog)s --input many/ --output found --no-pictures --num-gpus 2
    torchrun --nproc_per_node 2 demo.py --input many/ --output found

Without CUDA, --num-gpus N starts N processes of the CPU. A run that was cut short goes on when the
same command is started again.

Exit status: 0 if every image was counted; 1 if an image could not be counted, was left out or is
not done yet; 2 if the command line is wrong; 130 after Ctrl-C. A count that should not be trusted
has a note in counts.csv and a line in the log, and does not change the status.
"""


def score(text: str) -> float:
    """A score threshold of the command line as a number."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:  # nor NaN
        raise argparse.ArgumentTypeError(f"expected a score from 0 to 1, not {text}")
    return value


def number_of_processes(text: str) -> int:
    """A number of processes of the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of processes, 1 or more, not {text}")
    return int(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags, those of Detectron2's demo, to an ArgumentParser, and its description."""
    parser.description = DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
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
        "tools/export_model.py; onnx needs no PyTorch and is the default without it",
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
    parser.add_argument(
        "--no-pictures", action="store_true", help="write counts and detections only: faster"
    )
    parser.add_argument(
        "--num-gpus",
        type=number_of_processes,
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
