#!/usr/bin/env python3
"""Publish a trained model: models/<name>.safetensors and .onnx, with their card as .json and .md.

    python tools/publish_model.py --name ssd_lite --config-file output/ssd_lite/config.yaml \\
        --weights output/ssd_lite/model_best.pth --commit 1f31521 \\
        --command "python train_net.py --config-file configs/SSD/ssd_lite_bccd.yaml"

The weights are written in half precision first, and that file is then evaluated on DATASETS.VAL and
DATASETS.TEST as --eval-only does, so that the card's numbers are those of the file that ships. The
evaluation stays in output/published/<name>/.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.config import CfgNode
from detectron2.utils.logger import setup_logger

from bccd import model_zoo
from bccd.atomic_files import write_atomically
from bccd.config import get_bccd_cfg
from bccd.console import refusing, script
from bccd.data.sources.catalog import register_datasets
from bccd.engine.checkpoint import read_checkpoint, with_checkpoint_classes
from bccd.engine.setup import check_config, merge
from bccd.engine.weights_file import SUFFIX
from bccd.export.publish import encode_checkpoint, evaluate_file
from bccd.export.save import DifferentModelError
from bccd.export.shipped import write_export
from bccd.model_card import build_card, config_to_ship, write_card

ROOT = Path(__file__).resolve().parents[1]


def full_commit(revision: str) -> str:
    """The hash of a git revision of this repository; an error if it is none."""
    done = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ValueError(f"--commit {revision} is no commit of this repository")
    return done.stdout.strip()


def publish(cfg: CfgNode, args: argparse.Namespace) -> None:
    """Write the files of one model; a failure leaves models/ as it was.

    Args:
        cfg: of the training.
        args: the parsed command line.
    """
    commit = full_commit(args.commit)
    checkpoint = read_checkpoint(args.weights)
    folder = args.output / args.name
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / f"{args.name}{SUFFIX}"
    content = encode_checkpoint(checkpoint, cfg)
    model_zoo.check_sizes(weights, len(content))
    write_atomically(weights, lambda file: file.write(content))
    exported = weights.with_suffix(".onnx")
    export = write_export(config_to_ship(cfg, args.name), weights, exported)
    card = build_card(
        args.name,
        weights,
        cfg,
        checkpoint,
        evaluate_file(config_to_ship(cfg, args.name), weights, folder),
        command=args.command,
        commit=commit,
        export=export,
    )
    models = model_zoo.MODELS
    models.mkdir(exist_ok=True)
    shutil.copyfile(weights, models / weights.name)
    if export:
        shutil.copyfile(exported, models / exported.name)
    else:
        (models / exported.name).unlink(missing_ok=True)  # of other weights
        print(f"{args.name}: this kind of detector has no exportable form, so no .onnx ships")
    write_card(card, models)
    print(f"{models / args.name}.safetensors, .json and .md: {card['bytes'] / 1e6:.1f} MB")


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", required=True, help="of the model: bccd://<name>")
    parser.add_argument("--config-file", required=True, metavar="FILE", help="of the training")
    parser.add_argument("--weights", required=True, metavar="FILE", help="checkpoint to publish")
    parser.add_argument("--command", required=True, help="that trained it, for the card")
    parser.add_argument("--commit", required=True, metavar="REV", help="of the code that trained")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "output/published", help="folder of the evaluation"
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE pairs")
    args = parser.parse_args(argv)
    for logger in ("bccd", "detectron2"):
        setup_logger(name=logger)
    cfg = get_bccd_cfg()
    with refusing(DifferentModelError):
        register_datasets()
        merge(cfg, args.config_file, args.opts)
        cfg.MODEL.WEIGHTS, of_training = args.weights, cfg.MODEL.WEIGHTS
        cfg = with_checkpoint_classes(cfg)
        cfg.MODEL.WEIGHTS = of_training
        check_config(cfg, eval_only=True)
        publish(cfg, args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
