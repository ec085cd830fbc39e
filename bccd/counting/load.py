"""From the name of a model to its predictor."""

import dataclasses
import importlib.util
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from bccd import model_zoo
from bccd.data.classes import Color
from bccd.detections import Detections
from bccd.export.magnification import Magnification
from bccd.export.runtime import RUNTIMES, ExportedPredictor, default_runtime
from bccd.suggestions import did_you_mean

if TYPE_CHECKING:  # counting runs without it
    from detectron2.config import CfgNode

PYTORCH = "pytorch"
CONFIG_NAME = "config.yaml"  # what a training leaves beside its checkpoints
_EXPORTED_SUFFIXES = {runtime.suffix for runtime in RUNTIMES.values()}

logger = logging.getLogger(__name__)


class ImagePredictor(Protocol):
    """What counting needs of a detector.

    Attributes:
        class_names: by class index.
        class_colors: RGB, 0-255, of each.
        operating_points: {class name: score threshold} or None.
        identity: of everything that the detections depend on beside the image.
        field_size: (height, width) of the images it was trained on, or ().
        max_detections: the most that it gives for an image, or None.
        counting_thresholds: those at its magnification, or None: ``operating_points``.
        count_intervals: COUNTING.INTERVALS, see ``CountIntervals.of``; or None.
        magnification: at which it knows cells; None: it counts each image as it is. Where it is
            known, there are ``detect_resized`` and ``detection_limit``, see ``Predictor``.
    """

    class_names: Sequence[str]
    class_colors: Sequence[Color]
    operating_points: Mapping[str, float] | None
    identity: str
    field_size: tuple[int, ...]
    max_detections: int | None
    counting_thresholds: Mapping[str, float] | None
    count_intervals: Mapping[str, Sequence] | None
    magnification: Magnification | None

    def prepare(self, image: np.ndarray) -> dict:
        """What ``detect`` takes, of a uint8 BGR array (H, W, 3); may run in another thread."""

    def detect(self, inputs: dict) -> Detections:
        """What is in the image, boxes in its pixels."""


@dataclasses.dataclass(frozen=True)
class ModelChoice:
    """Which detector, and how it is run.

    Attributes:
        model: name of a shipped model, path of a checkpoint, or path of an exported file; None:
            MODEL.WEIGHTS of ``config_file`` or, without one, the default model. Of a folder that
            ``bccd train-on`` or ``bccd calibrate`` wrote, the file that can be run.
        config_file: yaml of a checkpoint; None: ``config.yaml`` beside it.
        runtime: "pytorch" or a key of ``RUNTIMES``; None: of an exported file by its suffix, else
            PyTorch, or ONNX Runtime for a shipped model where PyTorch is missing.
        device: of PyTorch, as "cpu" or "cuda:1"; None: as the config says.
        opts: config keys and their values in turn.
    """

    model: str | None = model_zoo.DEFAULT_MODEL
    config_file: str | None = None
    runtime: str | None = None
    device: str | None = None
    opts: tuple = ()

    def __post_init__(self) -> None:
        """Check the runtime's name, and find the file of a folder."""
        names = [PYTORCH, *RUNTIMES]
        if self.runtime not in (None, *names):
            raise ValueError(
                f"runtime {self.runtime} is unknown; use one of {', '.join(names)}."
                f"{did_you_mean(self.runtime, names)}"
            )
        # As a word, "ssd_lite" is the shipped model, whatever lies in the working directory.
        if self.model is not None and self.model not in model_zoo.list_models():
            path = Path(self.model)
            if path.is_dir():
                object.__setattr__(self, "model", str(_file_in_folder(path, self.runtime)))

    @property
    def shipped_name(self) -> str | None:
        """The name of the shipped model; None where ``model`` is a file."""
        name = model_zoo.DEFAULT_MODEL if self.model is None else self.model
        if self.config_file and self.model is None:
            return None
        name = name.removeprefix(model_zoo.PREFIX)
        is_name = not Path(name).suffix and len(Path(name).parts) == 1
        return name if is_name and not Path(name).is_file() else None

    @property
    def is_exported(self) -> bool:
        """Whether it is an exported file, which needs no PyTorch unless its runtime does."""
        if self.shipped_name:
            return self.runtime not in (None, PYTORCH)
        return self.model is not None and Path(self.model).suffix in _EXPORTED_SUFFIXES


def _file_in_folder(folder, runtime):
    """The checkpoint or, for the runtimes of exported files and without PyTorch, the ONNX file."""
    wanted = ".safetensors"
    if runtime in RUNTIMES or (runtime is None and missing_packages()):
        wanted = RUNTIMES[runtime or "onnx"].suffix
    found = sorted(folder.glob(f"*{wanted}"))
    if not found and runtime is None:
        found = sorted(folder.glob(f"*{RUNTIMES['onnx'].suffix}"))
    if len(found) != 1:
        raise FileNotFoundError(
            f"{folder} has {len(found) or 'no'} models ({wanted}): name the file of one, or a "
            "folder that bccd train-on or bccd calibrate wrote"
        )
    return found[0]


def load_predictor(choice: ModelChoice) -> ImagePredictor:
    """The predictor of a :class:`ModelChoice`.

    Raises:
        FileNotFoundError: no such model or file.
        ValueError: a file cannot be used, or the options contradict each other.
        ImportError: a package that is needed is not installed.
    """
    choice = with_runtime(choice)
    if choice.is_exported:
        return ExportedPredictor(choice.runtime, choice.shipped_name or choice.model)
    from bccd.engine.deferred_dynamo import import_torchvision

    import_torchvision()
    from bccd.counting.predictor import Predictor

    return Predictor(build_cfg(choice))


def with_runtime(choice: ModelChoice) -> ModelChoice:
    """``choice`` with the runtime that it will have, checked without loading anything.

    Raises:
        ValueError, ImportError: as :func:`load_predictor`.
    """
    if choice.is_exported:
        _refuse_options_of_pytorch(choice)
        runtime = choice.runtime or default_runtime(Path(choice.model))
        if runtime == PYTORCH:
            raise ValueError(f"{choice.model} is an exported file; PyTorch runs checkpoints")
        return dataclasses.replace(choice, runtime=runtime)
    if choice.runtime not in (None, PYTORCH):
        raise ValueError(
            f"{choice.model or choice.config_file}: {choice.runtime} runs exported "
            "files; bccd export writes one"
        )
    missing = missing_packages()
    if not missing:
        return dataclasses.replace(choice, runtime=PYTORCH)
    if not choice.shipped_name or choice.runtime or choice.device or choice.opts:
        raise ImportError(
            f"checkpoints, config files and config keys need {missing}, not installed here; "
            "docs/installing.md says how to install everything. A model that comes with the "
            "project, or an exported file, runs without"
        )
    logger.info(f"{missing} not installed: {choice.shipped_name} runs in ONNX Runtime")
    return dataclasses.replace(choice, runtime="onnx")


def missing_packages() -> str:
    """Those of PyTorch and Detectron2 that are not installed, as text; empty where both are."""
    names = [name for name in ("torch", "detectron2") if not importlib.util.find_spec(name)]
    return " and ".join(names)


def _refuse_options_of_pytorch(choice):
    given = {"config_file": choice.config_file, "config keys": choice.opts, "device": choice.device}
    if unusable := [name for name, value in given.items() if value]:
        raise ValueError(
            f"{' and '.join(unusable)}: an exported model cannot be changed; export it again, or "
            "use the checkpoint"
        )


def build_cfg(choice: ModelChoice) -> "CfgNode":
    """Config of a detector in PyTorch, frozen.

    Raises:
        FileNotFoundError, ValueError: an unknown model or key, or a file that is missing.
    """
    from bccd.config import get_bccd_cfg
    from bccd.engine.setup import available_device, merge
    from bccd.engine.shipped_models import load_config

    if choice.shipped_name:
        if choice.config_file:
            raise ValueError(
                f"{choice.shipped_name} is a shipped model, which has its own config; leave "
                f"{choice.config_file} away, or name a checkpoint"
            )
        cfg, config_file = load_config(choice.shipped_name), ""
    else:
        cfg, config_file = get_bccd_cfg(), _find_config(choice)
    merge(cfg, config_file, list(choice.opts))
    if not choice.shipped_name and choice.model is not None:
        cfg.MODEL.WEIGHTS = choice.model
    if choice.device is not None:
        cfg.MODEL.DEVICE = choice.device
        if choice.device.partition(":")[0] not in ("cpu", "cuda"):
            raise ValueError(f"device {choice.device} is unknown; use cpu, cuda or cuda:N")
        if available_device(choice.device) != choice.device:
            raise ValueError(f"device {choice.device}: CUDA is not available here; use cpu")
    cfg.freeze()
    return cfg


def _find_config(choice):
    """The yaml of a checkpoint."""
    if choice.model is None:
        return choice.config_file
    path = Path(choice.model)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} does not exist: expected a checkpoint, an exported file "
            f"({', '.join(sorted(_EXPORTED_SUFFIXES))}), or one of the models that come with the "
            f"project ({', '.join(model_zoo.list_models())})"
        )
    if path.suffix in (".yaml", ".yml"):
        raise ValueError(f"{path} is a config file; name the checkpoint, and this as config_file")
    if choice.config_file:
        return choice.config_file
    beside = path.with_name(CONFIG_NAME)
    if not beside.is_file():
        raise FileNotFoundError(
            f"{path} has no {CONFIG_NAME} beside it; name the config that it was trained with as "
            "config_file"
        )
    return os.fspath(beside)
