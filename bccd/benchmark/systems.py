"""What several trained detectors cost, each in PyTorch, as a file of ONNX Runtime and in int8."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from detectron2.config import CfgNode

from bccd.benchmark.exported import EagerPredictor, evaluate_exported, time_in_turn
from bccd.benchmark.operations import count_flops
from bccd.benchmark.workload import smear_batch
from bccd.engine.trained_detector import load_for_inference
from bccd.export.runtime import ExportedPredictor

EAGER = "eager"
SIZE = (480, 640)  # of the images whose operations are counted


@dataclass(frozen=True)
class Forms:
    """A trained detector in the forms that are timed.

    Attributes:
        cfg: its MODEL.WEIGHTS names the checkpoint; on the CPU.
        files: {name of the form: .onnx file}.
    """

    cfg: CfgNode
    files: Mapping[str, Path]


def measure_systems(
    systems: Mapping[str, Forms], dataset: str, output: Path, count: int = 50
) -> dict[str, dict]:
    """Accuracy and time of every form of every detector, in turn on the same images.

    Args:
        systems: {name: Forms}.
        dataset: registered name; not the one that final results are for.
        output: folder for the files of the evaluations.
        count: images that are timed.

    Returns:
        {name: ``parameters``, ``gflop`` of one image, and for each form, EAGER first, ``AP`` (on
        ``dataset``, percent) and ``milliseconds`` of :func:`.time_in_turn`}.
    """
    predictors = {
        (name, form): predictor
        for name, forms in systems.items()
        for form, predictor in _predictors(forms).items()
    }
    accuracy = {
        (name, form): evaluate_exported(each, dataset, output / f"{name}-{form}", 0)["bbox"]["AP"]
        for (name, form), each in predictors.items()
    }
    times = dict(zip(predictors, time_in_turn([*predictors.values()], dataset, count), strict=True))
    return {
        name: {
            **measure_operations(forms.cfg),
            "AP": {form: accuracy[name, form] for form in (EAGER, *forms.files)},
            "milliseconds": {
                form: times[name, form]["milliseconds"] for form in (EAGER, *forms.files)
            },
        }
        for name, forms in systems.items()
    }


def _predictors(forms):
    files = {form: ExportedPredictor("onnx", path) for form, path in forms.files.items()}
    return {EAGER: EagerPredictor(forms.cfg), **files}


def measure_operations(cfg: CfgNode) -> dict:
    """``parameters`` of the trained model and ``gflop`` of an image of SIZE."""
    model, _ = load_for_inference(cfg)
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "gflop": count_flops(model, smear_batch(cfg, SIZE, 1))["total"],
    }
