"""Calibrate a model for a laboratory, from about ten corrected fields.

Examples:
    bccd count my_images/ -o counted/
    (correct the cells of ten images in counted/detections.json)
    bccd calibrate counted/ -o my_lab/
    bccd count more_images/ -o counted_more/ --model my_lab/

FIELDS is the output folder of "bccd count" with a corrected detections.json, a COCO file that CVAT,
FiftyOne or another program made of it (--images names the folder of its images), or annotated
images in any format that "bccd check" reads. Every cell of a field must be marked. Chosen are the
score from which each class counts, the diameter of the red cells, and, with PyTorch, whether a
short fine-tuning is kept: only what improves counts of fields that are held back. Errors before and
after are printed. MODEL/ then has the model with its card, also where nothing had to be changed.
Started again, the same command goes on where it was ended.
"""

import argparse
import shlex
import sys
from pathlib import Path

from bccd.commands._model import add_model_options, model_choice
from bccd.console import DONE, CommandError, refusing, show

SUMMARY = "calibrate a model for a laboratory, from ten corrected fields"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("data", metavar="FIELDS", help="folder, COCO file, or FORMAT:PATH")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="MODEL")
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        help="that the names in a COCO file start from; default: as bccd count noted it",
    )
    parser.add_argument("--name", help="of the new model; default: the name of its folder")
    parser.add_argument(
        "--all-fields",
        action="store_true",
        help="also use fields in which nothing was corrected: all were looked at",
    )
    parser.add_argument(
        "--no-fine-tuning", action="store_true", help="choose thresholds and diameter only"
    )
    parser.add_argument("--iterations", type=int, metavar="N", help="of a fine-tuning")
    parser.add_argument("--seed", type=int, default=1, help="of a fine-tuning; default 1")
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrate; returns the exit status."""
    if args.iterations is not None and args.iterations < 1:
        raise CommandError("--iterations must be at least 1")
    from bccd.experiments.calibration.run import Plan, calibrate
    from bccd.logs import log_to_console

    log_to_console(0)
    plan = Plan(
        args.data,
        args.name or args.output.resolve().name,
        args.images,
        args.all_fields,
        not args.no_fine_tuning,
        args.iterations,
        args.seed,
    )
    with refusing():
        card = calibrate(
            model_choice(args), plan, args.output, command=shlex.join(["bccd", *sys.argv[1:]])
        )
    show(args, {"model": str(args.output), "card": card}, _summary(args.output, card))
    return DONE


def _summary(output, card):
    from bccd.experiments.calibration.card import (
        errors_table,
        fine_tuning_table,
        sentences,
        to_text,
    )

    found = card["calibration"]
    lines = [
        f"{found['fields']} corrected fields, each counted with what was chosen without it; before "
        "-> after:",
        to_text(errors_table(found["errors"], found["thresholds"])),
    ]
    if "AP" in found["fine_tuning"]:
        lines.append(to_text(fine_tuning_table(found["fine_tuning"])))
    lines += sentences(found)
    lines.append(f"The card is {output / card['name']}.md. To count with the model:")
    lines.append(f"  bccd count my_images/ --model {output} -o counted/")
    return "\n".join(lines)
