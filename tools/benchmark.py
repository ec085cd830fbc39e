#!/usr/bin/env python3
"""Measure what the detectors cost, or time two of them in turn.

    python tools/benchmark.py                                  # the lite configs
    python tools/benchmark.py --config-file configs/SSD/ssd_lite_bccd.yaml --threads 1
    python tools/benchmark.py --reference                      # ours against the published head
    python tools/benchmark.py --against-revision HEAD~5        # this code against older code
    python tools/benchmark.py --against-opts MODEL.ACTIVATION_CHECKPOINTING True

Weights are random: timing does not need trained ones, except that a trained SSD has fewer boxes
left for its non-maximum suppression. What each figure is: docs/benchmark.md.
"""

import argparse
import json
import math
from contextlib import nullcontext
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch

from bccd.benchmark.ceiling import measure_ceiling
from bccd.benchmark.measure import measure, precision_of
from bccd.benchmark.paired import (
    MIN_PAIRS,
    ROOT,
    DetectorProcess,
    join_starts,
    time_pairs,
    worktree,
)
from bccd.benchmark.table import ceiling_line, comparisons_table, configs_table, split_table
from bccd.benchmark.workload import read_config, reference_implementation
from bccd.console import number_of_processes
from bccd.evaluation.machine import describe_measurement

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
LITE_CONFIGS = ("SparseRCNN/sparse_rcnn_lite_bccd.yaml", "SSD/ssd_lite_bccd.yaml")
REFERENCE_CONFIGS = (
    "SparseRCNN/sparse_rcnn_r50_100pro_bccd.yaml",
    "SparseRCNN/sparse_rcnn_lite_bccd.yaml",
)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", type=Path, action="append", help="may be given repeatedly")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--batch-size", type=int, default=2, help="of the training iteration")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seconds", type=float, default=10, help="measuring time per figure")
    parser.add_argument("--output", type=Path, default=Path("output/benchmark.json"))
    parser.add_argument("--against", type=Path, metavar="CONFIG", help="time it in turn with each")
    parser.add_argument("--against-revision", metavar="REV", help="the other one runs its code")
    parser.add_argument(
        "--against-opts", nargs="+", default=[], help="KEY VALUE pairs for the other one alone"
    )
    parser.add_argument(
        "--reference", action="store_true", help="the other is the reference implementation"
    )
    parser.add_argument(
        "--starts",
        type=number_of_processes,
        default=3,
        metavar="N",
        help="of the processes of a comparison, anew for each share of the seconds (default: 3)",
    )
    parser.add_argument("--opts", nargs="*", default=[], help="KEY VALUE pairs for every config")
    args = parser.parse_args(argv)
    against = args.against or args.against_revision or args.against_opts
    if args.reference and against:
        parser.error("--reference is compared with this code's same config; leave out --against*")
    args.comparison = bool(args.reference or against)
    return args


def compare_all(args: argparse.Namespace, configs: list[Path]) -> list[dict]:
    """Forward and training of each config in turn with what the arguments put against it."""
    revision = worktree(args.against_revision) if args.against_revision else nullcontext(ROOT)
    comparisons = []
    with revision as source:
        for config in configs:
            opts = list(args.opts)
            if args.reference:
                opts = [*reference_implementation(read_config(config)).OPTIONS, *opts]
            second = args.against or config
            name = "published" if args.reference else second.name
            name += f" at {args.against_revision}" if args.against_revision else ""
            name = " ".join([name, *args.against_opts])
            print(f"Comparing {config.name} with {name} ...", flush=True)
            spec = _spec(config, opts, args)
            second_spec = _spec(second, [*opts, *args.against_opts], args, args.reference)
            second_spec["config_file"] = str(_in_revision(second, source))
            for run, compared in _compare(spec, second_spec, source, args).items():
                labels = {"first": config.name, "second": name, "run": run, "opts": opts}
                comparisons.append({**labels, **compared})
    return comparisons


def _compare(spec, second_spec, source, args):
    """Both runs of two detectors, whose processes are started ``args.starts`` times."""
    least = math.ceil(MIN_PAIRS / args.starts)
    starts = {"forward": [], "train": []}
    for _ in range(args.starts):
        with DetectorProcess(spec) as first, DetectorProcess(second_spec, source) as second:
            for run, measured in starts.items():
                seconds = args.seconds / args.starts
                measured.append(time_pairs(first, second, run, seconds, least))
    return {run: join_starts(measured) for run, measured in starts.items()}


def _in_revision(config, source):
    """The same config as another revision has it: its code may not know the keys of this one."""
    path = config.resolve()
    if not path.is_relative_to(ROOT):
        return path
    older = source / path.relative_to(ROOT)
    return older if older.is_file() else path


def _spec(config, opts, args, reference=False):
    dtype = precision_of(read_config(config, opts))
    return {
        "config_file": str(config.resolve()),
        "opts": opts,
        "size": args.size,
        "batch_size": args.batch_size,
        "threads": args.threads,
        "amp_dtype": str(dtype).removeprefix("torch.") if dtype else None,
        "reference": reference,
    }


def measure_configs(args: argparse.Namespace, configs: list[Path], ceiling: dict) -> list[dict]:
    """All figures of each config."""
    results = []
    for config in configs:
        print(f"Measuring {config.name} ...", flush=True)
        results.append(
            measure(
                config,
                args.opts,
                size=tuple(args.size),
                batch_size=args.batch_size,
                seconds=args.seconds,
                ceiling=ceiling,
            )
        )
    return results


def main(argv: list[str] | None = None) -> None:
    """Measure, print the tables and write the JSON."""
    args = parse_arguments(argv)
    torch.set_num_threads(args.threads)
    defaults = REFERENCE_CONFIGS if args.reference else LITE_CONFIGS
    configs = args.config_file or [CONFIGS / name for name in defaults]
    measurement = describe_measurement()
    ceiling = measure_ceiling("cuda" if torch.cuda.is_available() else "cpu", args.seconds)
    report = {
        **measurement,
        "ceiling": ceiling,
        "size": tuple(args.size),
        "train_batch_size": args.batch_size,
    }
    if args.comparison:
        report["comparisons"] = compare_all(args, configs)
        tables = [comparisons_table(report["comparisons"])]
    else:
        report["results"] = measure_configs(args, configs, ceiling)
        tables = [configs_table(report["results"]), *map(split_table, report["results"])]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(report, indent=2) + "\n")
    print("\n\n".join(["", *tables, ceiling_line(ceiling)]))
    print(f"{report['machine']}, images {report['size']}, training batch {args.batch_size}")
    load = report["machine"]["load_before"]
    if load > 0.5:
        print(f"The machine was not idle ({load:.1f} cores busy): repeat this when it is")
    print(f"Written to {args.output}")


if __name__ == "__main__":
    main()
