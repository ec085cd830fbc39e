#!/usr/bin/env python3
"""Time the systems of configs/experiments/systems.yaml in one run, each in three forms.

    python tools/time_systems.py
    python tools/time_systems.py --operations    # no times: parameters and operations alone
    python tools/time_systems.py --rows ssd_lite yolov8_lite --images 20 --results output/quick

Each detector is exported to ONNX, in fp32 and in int8, checked, and evaluated on validation images;
then PyTorch and both files of all detectors take turns on each image. Its checkpoint is
output/<row>/model_best.pth or, where there is none, the shipped model of that name; a row that has
neither is left out. Leave the machine alone meanwhile. It writes results/systems/cost.json, which
``tools/compare_systems.py --tables --pages`` puts into the tables.
"""

import argparse
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch
from detectron2.utils.logger import setup_logger

from bccd.benchmark.systems import Forms, measure_operations, measure_systems
from bccd.cli import main as bccd_command
from bccd.console import script
from bccd.counting.load import ModelChoice, build_cfg
from bccd.data.sources.catalog import register_datasets
from bccd.evaluation.machine import describe_measurement
from bccd.experiments.json_files import write_json
from bccd.experiments.systems import read_systems
from bccd.model_zoo import list_models


def _parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="default: all systems")
    parser.add_argument("--operations", action="store_true", help="export and time nothing")
    parser.add_argument("--dataset", default="bccd_paper_val", help="images that are timed")
    parser.add_argument("--calibrate", default="bccd_paper_train", help="of int8: a data set")
    parser.add_argument("--images", type=int, default=50, help="how many of the data set")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="DIR")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    return parser.parse_args(argv)


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _parse(argv)
    torch.set_num_threads(args.threads)
    setup_logger(name="bccd")
    register_datasets(args.dataset, args.calibrate)
    models = {row: find_model(row, args.output) for row in args.rows or read_systems()}
    for row in [row for row, model in models.items() if model is None]:
        print(f"{row}: neither trained in {args.output / row} nor shipped; left out")
        del models[row]
    report = _count(models) if args.operations else _time(models, args)
    (args.results / "systems").mkdir(parents=True, exist_ok=True)
    write_json(args.results / "systems" / "cost.json", report)
    print(f"{args.results / 'systems' / 'cost.json'}: {', '.join(models)}")
    return 0


def _count(models):
    measured = {row: measure_operations(_read_cfg(model)) for row, model in models.items()}
    return {"command": describe_measurement()["command"], "systems": measured}


def _time(models, args):
    folder = args.output / "systems"
    systems = {
        row: Forms(_read_cfg(model), export(row, model, folder, args.calibrate))
        for row, model in models.items()
    }
    report = {**describe_measurement(), "dataset": args.dataset, "calibration": args.calibrate}
    return {**report, "systems": measure_systems(systems, args.dataset, folder, args.images)}


def find_model(row: str, output: Path) -> str | None:
    """The checkpoint of a row, or the shipped model of its name; None where there is neither."""
    checkpoint = output / row / "model_best.pth"
    if checkpoint.is_file():
        return str(checkpoint)
    return row if row in list_models() else None


def _read_cfg(model):
    cfg = build_cfg(ModelChoice(model=model))
    cfg.defrost()
    cfg.MODEL.DEVICE = "cpu"
    return cfg


def export(row: str, model: str, folder: Path, calibration: str) -> dict[str, Path]:
    """Write a model as .onnx in fp32 and in int8; returns {form: file}.

    Raises:
        ValueError: it cannot be exported; ``bccd export`` has said why.
    """
    files = {"onnx": folder / f"{row}.onnx", "int8": folder / f"{row}_int8.onnx"}
    for form, file in files.items():
        quantized = ["--int8", "--calibrate", calibration] if form == "int8" else []
        if bccd_command(["export", "--model", model, "-o", str(file), *quantized]):
            raise ValueError(f"{model} cannot be written as {file}, see above")
    return files


if __name__ == "__main__":
    sys.exit(main())
