"""From command-line arguments to a config that is known to make sense."""

import difflib
import logging
import re
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.data.records import model_class_names
from bccd.data.sources.by_path import require_registered
from bccd.data.sources.catalog import register_datasets
from bccd.data.sources.user_modules import import_user_modules
from bccd.engine.allocator import keep_freed_memory
from bccd.engine.checkpoint import with_checkpoint_classes
from bccd.engine.classes import with_training_classes
from bccd.engine.expected_results import expected_dataset
from bccd.engine.fields import with_training_fields
from bccd.evaluation.operating_point import configured_thresholds

logger = logging.getLogger(__name__)


def setup(args: Namespace) -> CfgNode:
    """Build, check and log the config; set up loggers, seeds and OUTPUT_DIR.

    Args:
        args: as parsed by Detectron2's ``default_argument_parser()``.

    Returns:
        CfgNode, frozen.

    Raises:
        ValueError: an unknown key, or values that contradict each other.
    """
    register_datasets()
    cfg = get_bccd_cfg()
    merge(cfg, args.config_file, args.opts)
    wanted = cfg.MODEL.DEVICE
    cfg.MODEL.DEVICE = available_device(wanted)
    check_datasets(cfg)
    changes = []
    if args.eval_only:
        cfg = with_checkpoint_classes(cfg, resume=args.resume)
    else:
        cfg, changes = with_training_fields(with_training_classes(cfg))
    check_config(cfg, eval_only=args.eval_only)
    cfg.freeze()
    if not cfg.MODEL.ACTIVATION_CHECKPOINTING:  # which says that memory is short
        keep_freed_memory()
    _set_up_output(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="bccd")
    logger.info(f"Classes of the model: {', '.join(cfg.MODEL.CLASS_NAMES) or 'not known'}")
    for change in changes:
        logger.info(change)
    if wanted != cfg.MODEL.DEVICE:
        logger.warning(f"MODEL.DEVICE is {wanted}, but CUDA is not available: using the CPU")
    if cfg.MODEL.DEVICE == "cpu" and comm.get_world_size() > 1:
        logger.info(f"Running on {comm.get_world_size()} CPU processes over gloo")
    return cfg


def _set_up_output(cfg, args):
    """Detectron2's ``default_setup``; an evaluation leaves the ``config.yaml`` of a training."""
    path = Path(cfg.OUTPUT_DIR) / "config.yaml"
    of_training = None
    if args.eval_only and comm.is_main_process() and path.is_file():
        of_training = path.read_text()
    default_setup(cfg, args)
    if of_training is not None:
        path.write_text(of_training)


def merge(cfg: CfgNode, config_file: str, opts: Sequence | None) -> None:
    """Merge a yaml (or "") and a ``KEY VALUE`` list into ``cfg``.

    Raises:
        FileNotFoundError: there is no such yaml.
        ValueError: a key that does not exist, and the most similar one is named; a KEY without a
            VALUE; a file that is no config.
    """
    try:
        if config_file:
            merge_yaml(cfg, config_file)
        cfg.merge_from_list(opts or [])
    except ValueError as error:
        raise _explain_type(error, cfg, config_file) from error
    except (KeyError, AssertionError) as error:
        unknown = re.search(r"Non-existent (?:config )?key: ([\w.]+)", str(error))
        if unknown is None:  # KEY without its VALUE
            raise ValueError(error.args[0]) from error
        similar = difflib.get_close_matches(unknown[1], _keys(cfg), n=1, cutoff=0)
        raise ValueError(
            f"unknown config key {unknown[1]} in {config_file or 'the command line'} or its "
            f"options; the most similar one is {similar[0]}"
        ) from error


def _explain_type(error, cfg, config_file):
    """What yacs calls a type mismatch, with the key and a value that it would take."""
    found = re.match(
        r"Type mismatch \(<class '.*'> vs. <class '(.*)'>\) with values \((?s:.*)\) "
        r"for config key: (\S+)$",
        str(error),
    )
    if found is None:
        return error
    given, key = found.groups()
    node = cfg
    for part in key.split("."):
        node = node[part]
    hint = "; a tuple of one needs its comma: ('name',)" if isinstance(node, tuple | list) else ""
    return ValueError(
        f"{key} in {config_file or 'the command line'} or its options: expected a value of type "
        f"{type(node).__name__}, such as {node!r}, and got one of type {given}{hint}"
    )


def _keys(node, prefix=""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")
        yield prefix + key


def available_device(device: str) -> str:
    """``device``, or "cpu" where it is a CUDA device and there is none."""
    return "cpu" if device.startswith("cuda") and not torch.cuda.is_available() else device


def check_datasets(cfg: CfgNode) -> None:
    """Import the user's modules and register data sets that are named by their path.

    Raises:
        ValueError: there is no such module or data set.
    """
    import_user_modules(cfg.DATASETS.IMPORT)
    for key in ("TRAIN", "VAL", "TEST"):
        for name in cfg.DATASETS[key]:
            try:
                require_registered(name)
            except (OSError, ValueError) as error:
                raise ValueError(f"DATASETS.{key}: {error}") from error


def check_config(cfg: CfgNode, *, eval_only: bool = False) -> None:
    """Find mistakes in the shared keys before anything is built.

    Raises:
        ValueError: names the key and the expected value.
    """
    check_datasets(cfg)
    configured_thresholds(cfg.TEST.OPERATING_POINTS, model_class_names(cfg))
    expected_dataset(cfg)
    test = cfg.TEST
    _require(
        0 < test.OPERATING_POINT_IOU <= 1 and test.BOOTSTRAP.SAMPLES >= 1,
        "TEST: expected 0 < OPERATING_POINT_IOU <= 1 and BOOTSTRAP.SAMPLES >= 1",
    )
    _require(
        cfg.MODEL.DEVICE != "cpu" or not dist.is_initialized() or dist.get_backend() == "gloo",
        "MODEL.DEVICE is cpu, but the processes were started for GPUs: set CUDA_VISIBLE_DEVICES=",
    )
    if eval_only:
        _require(cfg.DATASETS.TEST, "--eval-only needs a dataset in DATASETS.TEST")
    else:
        _check_training(cfg)


def _check_training(cfg):
    solver, test, early_stop = cfg.SOLVER, cfg.TEST, cfg.VALIDATION.EARLY_STOP
    _require(solver.ACCUMULATE >= 1, f"SOLVER.ACCUMULATE {solver.ACCUMULATE}; expected at least 1")
    _require(
        solver.AMP.DTYPE in ("float16", "bfloat16"),
        f"SOLVER.AMP.DTYPE is {solver.AMP.DTYPE}; expected float16 or bfloat16",
    )
    clip_type = solver.CLIP_GRADIENTS.CLIP_TYPE
    _require(
        clip_type in ("value", "norm", "full_model"),
        f"SOLVER.CLIP_GRADIENTS.CLIP_TYPE is {clip_type}; expected value, norm or full_model",
    )
    _require(
        0 <= solver.EMA.DECAY < 1 and solver.EMA.WARMUP >= 1,
        "SOLVER.EMA: expected 0 <= DECAY < 1 and WARMUP >= 1",
    )
    _require(not test.PRECISE_BN.ENABLED, "TEST.PRECISE_BN is not supported; set ENABLED False")
    _require(
        cfg.DATASETS.VAL or not early_stop.ENABLED,
        "VALIDATION.EARLY_STOP needs a dataset in DATASETS.VAL",
    )
    _require(
        (test.EVAL_PERIOD > 0 and early_stop.PATIENCE >= 1) or not early_stop.ENABLED,
        "VALIDATION.EARLY_STOP needs TEST.EVAL_PERIOD above 0 and PATIENCE of at least 1",
    )


def _require(condition, message):
    if not condition:
        raise ValueError(message)
