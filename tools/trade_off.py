#!/usr/bin/env python3
"""Accuracy against time of a trained detector: every combination of the values of some config keys.

    python tools/trade_off.py --model sparse_rcnn_lite --dataset bccd_paper_val \\
        --axis MODEL.SparseRCNN.STAGES_TEST 1 2 3 --axis MODEL.SparseRCNN.NUM_PROPOSALS 20 40 60 \\
        --output output/trade_off

This writes trade_off.json, a table and a figure. Use only keys that a trained model can be run
with. Ratios are relative to the first combination.
"""

import argparse
import json
import sys
from pathlib import Path

from bccd.benchmark.table import trade_off_table
from bccd.benchmark.trade_off import combine, measure_trade_off
from bccd.console import refusing, script
from bccd.data.sources.catalog import register_datasets
from bccd.engine.detector_flags import add_detector_flags, detector_cfg
from bccd.evaluation.machine import describe_measurement
from bccd.visualization.style import save
from bccd.visualization.trade_off import trade_off_figure


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_detector_flags(parser)
    parser.add_argument(
        "--axis", nargs="+", action="append", required=True, metavar="KEY VALUE", help="repeatable"
    )
    parser.add_argument("--dataset", default="bccd_paper_val", help="registered name")
    parser.add_argument("--rounds", type=int, default=3, help="times that each image is timed")
    parser.add_argument("--output", type=Path, default=Path("output/trade_off"))
    parser.add_argument("--opts", nargs="*", default=[], help="KEY VALUE pairs for every variant")
    args = parser.parse_args(argv)
    if any(len(axis) < 2 for axis in args.axis):
        parser.error("--axis takes a key and the values to try")
    return args


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = parse_arguments(argv)
    measurement = describe_measurement()
    with refusing(KeyError):
        register_datasets(args.dataset)
        cfg = detector_cfg(args)
        variants = combine({key: values for key, *values in args.axis})
        measured = measure_trade_off(cfg, variants, args.dataset, args.rounds)
    name = args.config_file or args.model
    report = {**measurement, "detector": Path(name).stem, "dataset": args.dataset}
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / "trade_off.json").write_text(
        json.dumps({**report, "variants": measured}, indent=2) + "\n"
    )
    title = f"{report['detector']} on {args.dataset}"
    save(trade_off_figure(measured, title), args.output / "trade_off.png")
    print(trade_off_table(measured))
    print(f"{report['machine']}; written to {args.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
