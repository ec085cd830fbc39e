"""Command-line flags of the tools that work on one trained detector."""

from argparse import ArgumentParser, Namespace

from detectron2.config import CfgNode

from bccd import model_zoo
from bccd.config import get_bccd_cfg
from bccd.engine.checkpoint import with_checkpoint_classes
from bccd.engine.setup import merge
from bccd.engine.shipped_models import load_config


def add_detector_flags(parser: ArgumentParser) -> None:
    """Add ``--model`` and ``--config-file``, of which one is given, to an ArgumentParser."""
    detector = parser.add_mutually_exclusive_group()
    detector.add_argument("--model", default=model_zoo.DEFAULT_MODEL, help="a shipped model")
    detector.add_argument("--config-file", metavar="FILE", help="yaml of another detector")


def detector_cfg(args: Namespace) -> CfgNode:
    """Config of the detector that the flags and ``args.opts`` (``KEY VALUE`` list) describe.

    Returns:
        CfgNode, not frozen; its classes are those of the checkpoint where it names none.

    Raises:
        ValueError: an unknown key or model, or a checkpoint that cannot be read.
        OSError: a file is missing.
    """
    cfg = get_bccd_cfg() if args.config_file else load_config(args.model)
    merge(cfg, args.config_file or "", args.opts)
    return with_checkpoint_classes(cfg)
