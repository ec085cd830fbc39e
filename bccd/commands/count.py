"""Count blood cells in images, slides or a video: pictures, detections.json and counts.csv.

Examples:
    bccd count my_images/ -o counted/
    bccd count "slides/*/*.png" field.jpg -o counted/ --model sparse_rcnn_lite
    bccd count my_images/ -o counted/ --model output/lite/model_best.pth
    bccd count my_images/ -o counted/ --model ssd_lite.onnx --threshold WBC=0.6
    bccd count my_images/ -o counted/ --region regions/
    bccd count slide.svs -o counted/
    bccd count --video smear.mp4 -o counted/
    bccd count many/ -o counted/ --no-pictures --num-gpus 2

A run that was cut short goes on when the same command is started again. A count that should not be
trusted has a note in counts.csv and a line in the log, and does not change the exit status.
"""

import argparse

from bccd.commands._counting import add_counting_options, counting_options
from bccd.commands._model import add_model_options, model_choice
from bccd.console import refusing, show

SUMMARY = "count cells in images, slides or a video"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "images",
        nargs="*",
        metavar="PATH",
        help="images or slides, their folders, or patterns in quotes",
    )
    parser.add_argument("--video", metavar="FILE", help="a video instead of images")
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--threshold",
        action="append",
        default=[],
        metavar="SCORE",
        help="lowest score of a detection that counts, for every class, or as CLASS=SCORE for one; "
        "may be repeated; default: the operating points stored with the model",
    )
    add_counting_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Count; returns the exit status."""
    from bccd.counting import run as counting
    from bccd.counting.options import CountOptions

    with refusing():
        if bool(args.images) == bool(args.video):
            raise ValueError("name the images to count in, or a --video")
        options = CountOptions(
            output=args.output,
            inputs=tuple(args.images),
            video=args.video,
            choice=model_choice(args),
            thresholds=parse_thresholds(args.threshold),
            **counting_options(args),
        )
        job = counting.prepare(options)
    if args.json:
        return counting.run(job, lambda outcome: show(args, outcome.to_json(), ""))
    return counting.run(job)


def parse_thresholds(texts: list[str]) -> float | dict[str, float] | None:
    """What ``--threshold`` asks for, see ``thresholds_by_class``.

    Raises:
        ValueError: one is no score.
    """
    by_class = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            by_class[name] = float(value)
        except ValueError:
            raise ValueError(f"--threshold {text}: expected SCORE or CLASS=SCORE") from None
    if "" not in by_class:
        return by_class or None
    if len(by_class) > 1:
        raise ValueError("--threshold: expected one score for every class, or scores by class")
    return by_class[""]
