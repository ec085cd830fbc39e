"""The predictor that the flags of counting describe."""

import importlib.util
import logging
from argparse import Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING

from bccd.export.runtime import ExportedPredictor

if TYPE_CHECKING:  # counting runs without it
    from detectron2.config import CfgNode

logger = logging.getLogger(__name__)


def build_predictor(args: Namespace) -> Callable:
    """The predictor that the flags describe.

    Raises:
        FileNotFoundError, ValueError, ImportError: it cannot be built.
    """
    if args.runtime:
        if args.opts:
            raise ValueError("--opts: an exported model cannot be changed; export it again")
        return ExportedPredictor(*args.runtime)
    from bccd.engine.deferred_dynamo import import_torchvision

    import_torchvision()
    from bccd.counting.predictor import Predictor

    return Predictor(setup_cfg(args))


def choose_runtime(args: Namespace, alone: bool = True) -> None:
    """Set ``args.runtime`` to ONNX Runtime where PyTorch or Detectron2 is missing.

    Args:
        args: the flags.
        alone: this is the only process of the run.

    Raises:
        ImportError: what the flags ask for needs them.
    """
    missing = [name for name in ("torch", "detectron2") if not importlib.util.find_spec(name)]
    if not missing:
        return
    names = " and ".join(missing)
    if not alone:
        raise ImportError(f"several processes (--num-gpus) need {names}, not installed here")
    if args.runtime:
        return
    if args.config_file or args.opts:
        raise ImportError(
            f"--config-file and --opts need {names}, not installed here; README.md says how to "
            "install everything. A model that comes with the project, or an exported one, runs "
            "without: see --model and --runtime"
        )
    args.runtime = ["onnx", args.model]
    logger.info(f"{names} not installed: {args.model} runs in ONNX Runtime")


def setup_cfg(args: Namespace) -> "CfgNode":
    """Config from the flags, frozen.

    Raises:
        FileNotFoundError, ValueError: an unknown model or key.
    """
    from bccd.engine.detector_flags import detector_cfg

    cfg = detector_cfg(args)
    cfg.freeze()
    return cfg
