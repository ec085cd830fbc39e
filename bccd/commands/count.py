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
    bccd count s3://archive/2026/ -o s3://counted/2026 --ray head-node:6379

With --ray, the machines of a Ray cluster share the images, which may lie in any store that fsspec
knows; the results are Parquet files, without pictures (docs/many_images.md).

A run that was cut short goes on when the same command is started again. A count that should not be
trusted has a note in counts.csv and a line in the log, and does not change the exit status.
"""

import argparse

from bccd.commands._counting import add_counting_options, counting_options
from bccd.commands._model import add_model_options, model_choice
from bccd.console import number_of_processes, refusing, show
from bccd.counting.archive import require_packages

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
    parser.add_argument(
        "--microlitre-factor",
        action="append",
        default=[],
        metavar="FACTOR",
        help="cells in a microlitre of blood for one cell per field, for every class, or as "
        "CLASS=FACTOR for one; may be repeated; the summary then has concentrations",
    )
    parser.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="count on the machines of the Ray cluster at this address (auto, HOST:PORT, "
        "ray://HOST:PORT), or on one of this machine's cores alone (local)",
    )
    parser.add_argument(
        "--cores-each",
        type=number_of_processes,
        default=1,
        metavar="N",
        help="cores of each process of --ray; default 1",
    )
    add_counting_options(parser)
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Count; returns the exit status."""
    from bccd.counting.options import CountOptions

    with refusing():
        if bool(args.images) == bool(args.video):
            raise ValueError("name the images to count in, or a --video")
        options = CountOptions(
            output=args.output,
            inputs=tuple(args.images),
            video=args.video,
            choice=model_choice(args),
            thresholds=parse_by_class(args.threshold, "--threshold", "SCORE"),
            microlitre_factors=parse_by_class(
                args.microlitre_factor, "--microlitre-factor", "FACTOR"
            ),
            **counting_options(args),
        )
        if args.ray:
            require_packages()
            from bccd.counting.archive import run as counting

            job = counting.prepare(options, args.ray, args.cores_each)
        else:
            from bccd.counting import run as counting

            job = counting.prepare(options)
    if args.json:
        return counting.run(job, lambda outcome: show(args, outcome.to_json(), ""))
    return counting.run(job)


def parse_by_class(texts: list[str], option: str, what: str) -> float | dict[str, float] | None:
    """What an option says that takes a number for every class, or some as CLASS=NUMBER.

    Args:
        texts: as they were given.
        option, what: its name and that of its values, for messages.

    Raises:
        ValueError: one is no number, a class has two, or there are both kinds.
    """
    by_class = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        if name in by_class:
            raise ValueError(f"{option} {text}: given twice for {name or 'every class'}")
        try:
            by_class[name] = float(value)
        except ValueError:
            raise ValueError(f"{option} {text}: expected {what} or CLASS={what}") from None
    if "" not in by_class:
        return by_class or None
    if len(by_class) > 1:
        raise ValueError(f"{option}: expected one {what.lower()} for every class, or some by class")
    return by_class[""]
