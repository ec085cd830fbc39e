"""The options by which subcommands are told which detector to use."""

import argparse
from typing import TYPE_CHECKING

from bccd import model_zoo

if TYPE_CHECKING:
    from bccd.counting.load import ModelChoice


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of any kind of model, run in any way."""
    parser.add_argument(
        "--runtime",
        metavar="NAME",
        help="what runs the model: pytorch, onnx, openvino or aotinductor; default: by the kind of "
        "model. onnx needs no PyTorch",
    )
    parser.add_argument("--device", help="of PyTorch: cpu, cuda or cuda:N; default: a GPU if any")
    add_checkpoint_options(parser, ", a checkpoint, or an exported file")


def add_checkpoint_options(
    parser: argparse.ArgumentParser, kinds: str = ", or a checkpoint"
) -> None:
    """Add the options of a model in PyTorch; ``kinds`` is what it may be beside a shipped one."""
    names = ", ".join(model_zoo.list_models()) or "none yet"
    parser.add_argument(
        "--model",
        metavar="MODEL",
        help=f"a model that comes with the project ({names}){kinds}; default "
        f"{model_zoo.DEFAULT_MODEL}",
    )
    parser.add_argument(
        "--config-file",
        metavar="FILE",
        help="yaml of the checkpoint; default: config.yaml beside it",
    )
    add_opts(parser, "to change")


def add_opts(parser: argparse.ArgumentParser, which: str) -> None:
    """Add ``--opts KEY VALUE ...``, which takes the rest of the line; ``which`` keys they are."""
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        metavar="KEY VALUE",
        help=f"config keys {which}, at the end of the command line",
    )


def require_pytorch() -> None:
    """Raise ImportError where PyTorch or Detectron2 is missing; what is to be done is said."""
    from bccd.counting.load import missing_packages

    if missing := missing_packages():
        raise ImportError(
            f"this needs {missing}, not installed here; "
            "docs/installing.md says how to install everything"
        )


def model_choice(args: argparse.Namespace) -> "ModelChoice":
    """The detector that the options describe; ValueError for an unknown runtime."""
    from bccd.counting.load import ModelChoice

    return ModelChoice(
        model=args.model,
        config_file=args.config_file,
        runtime=getattr(args, "runtime", None),
        device=getattr(args, "device", None),
        opts=tuple(args.opts),
    )
