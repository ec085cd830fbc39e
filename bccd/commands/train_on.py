"""Train a model on images of your own: check, split, train, choose thresholds, evaluate, publish.

DATA is a folder of images with annotations in any format that bccd check reads. Its classes may be
any. A trained model is fine-tuned on most of the images; the checkpoint and the scores from which a
detection counts are chosen on a second part, and the accuracy is measured on a third one, which
nothing else has seen. FOLDER/model/ then has the model with its card, and the
same detector as .onnx file, which counts without PyTorch. Started again, the same command goes on
where it was ended.
"""

import argparse
import shlex
import sys
from pathlib import Path

import bccd
from bccd import model_zoo
from bccd.commands._model import add_opts
from bccd.console import DONE, CommandError, refusing, refusing_mistakes, show

SUMMARY = "train a model on images of your own"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("data", metavar="DATA", help="folder, or FORMAT:PATH")
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="FOLDER")
    parser.add_argument(
        "--model",
        default=model_zoo.DEFAULT_MODEL,
        metavar="MODEL",
        help=f"start from this one: {', '.join(model_zoo.list_models())}, or a checkpoint that has "
        "its config.yaml beside it; default %(default)s",
    )
    parser.add_argument("--name", help="of the new model; default: the name of FOLDER")
    parser.add_argument(
        "--iterations", type=int, metavar="N", help="default: by the number of images"
    )
    parser.add_argument("--seed", type=int, default=1, help="of split and training; default 1")
    parser.add_argument(
        "--group-by-folder",
        action="store_true",
        help="images of one folder, of a slide or a patient, stay in one part",
    )
    parser.add_argument("--num-gpus", type=int, default=1, metavar="N", help="training processes")
    add_opts(parser, "of the training")


def run(args: argparse.Namespace) -> int:
    """Train; returns the exit status."""
    if args.iterations is not None and args.iterations < 1:
        raise CommandError("--iterations must be at least 1")
    with refusing():
        from bccd.experiments.own_data.run import Plan, train_on
    plan = Plan(
        args.data,
        args.model,
        args.name or args.output.resolve().name,
        args.iterations,
        args.seed,
        args.group_by_folder,
        tuple(args.opts),
    )
    command = shlex.join(["bccd", *sys.argv[1:]])
    with refusing_mistakes():
        card = train_on(
            plan,
            args.output,
            command=command,
            code=f"bccd {bccd.__version__}",
            num_gpus=args.num_gpus,
        )
    weights = args.output / "model" / card["file"]
    show(args, {"model": str(weights), "card": card}, _summary(args.output, card, weights))
    return DONE


def _summary(output, card, weights):
    test = card["metrics"][card["training"]["data"]["test"][0]]
    lines = [f"{test['images']} images were held back. On them:"]
    for name in card["operating_points"]:
        error = test["count"].get(f"MAE-{name}")
        ap = test["bbox"].get(f"AP50-{name}")
        lines.append(
            f"  {name}: AP50 {'n/a' if ap is None else f'{ap:.1f}'}, counting error "
            f"{'n/a' if error is None else f'{error:.2f} cells per image'}"
        )
    lines.append(f"The card is {weights.with_suffix('.md')}. To count with the model:")
    lines.append(f"  bccd count my_images/ --model {weights} -o {output / 'counted'}")
    if card["export"]:
        lines.append(f"{weights.with_suffix('.onnx')} does the same without PyTorch.")
    return "\n".join(lines)
