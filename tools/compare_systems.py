#!/usr/bin/env python3
"""Put the systems of configs/experiments/systems.yaml side by side, from the files in results/.

    python tools/compare_systems.py                   # measure and print the tables
    python tools/compare_systems.py --pages           # and write them into the pages
    python tools/compare_systems.py --tables --pages  # of what was measured before

From the kept detections of the rows, of those on BCCD's own split and of the cross-validations, it
computes accuracy with intervals, paired differences between systems, what each kind of error costs,
the weighted box fusion of all systems, and what the paper's losses change. It writes
results/systems/accuracy.json and, once ``tools/time_systems.py`` has written cost.json there,
ap_over_time.png. Nothing is trained. The pages are README.md and docs/results.md of the working
directory.
"""

import argparse
import json
import sys
from pathlib import Path

from bccd.console import script
from bccd.data.sources.catalog import register_datasets
from bccd.experiments import system_tables
from bccd.experiments.comparison import REFERENCES
from bccd.experiments.json_files import write_json
from bccd.experiments.system_comparison import (
    SAMPLES,
    compare_errors,
    compare_losses,
    compare_systems,
)
from bccd.experiments.systems import CROSS_VALIDATION, read_kept, read_systems
from bccd.markdown import replace_table
from bccd.visualization.style import save
from bccd.visualization.trade_off import systems_figure

DRAWN = {"eager": "PyTorch", "onnx": "ONNX Runtime"}  # forms with the same detections
LOSSES = "_paper_losses"  # behind the name of a row: with the three losses of the paper


def _parse(argv):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="resamplings of the images")
    parser.add_argument("--tables", action="store_true", help="measure nothing")
    parser.add_argument("--pages", action="store_true", help="write the tables into the pages")
    return parser.parse_args(argv)


@script
def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    args = _parse(argv)
    register_datasets()
    folder = args.results / "systems"
    if not args.tables:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "accuracy.json", measure(args.results, args.samples))
    accuracy, costs = (read(folder / f"{name}.json") for name in ("accuracy", "cost"))
    if not accuracy:
        raise FileNotFoundError(f"{folder / 'accuracy.json'} is missing; leave out --tables")
    if "machine" in costs:  # else nothing was timed
        draw(accuracy, costs, folder / "ap_over_time.png")
    for name, (page, table) in build_tables(accuracy, costs).items():
        print(f"{name}\n\n{table}\n")
        if args.pages:
            page.write_text(replace_table(page.read_text(), table, name))
    return 0


def measure(results: Path, samples: int) -> dict:
    """Content of accuracy.json, of everything that ``results`` keeps."""
    names = list(read_systems())
    kept = read_kept(results, names)
    if not kept:
        raise FileNotFoundError(f"{results} keeps none of {', '.join(names)}")
    others = read_kept(results, [f"{name}{LOSSES}" for name in names])
    judged = system_tables.PAPER_TEST
    changed = {n.removesuffix(LOSSES): each for n, each in others.get(judged, {}).items()}
    return {
        "sets": {dataset: compare_systems(rows, samples) for dataset, rows in kept.items()},
        "losses": compare_losses(kept.get(judged, {}), changed, samples),
        "errors": {dataset: compare_errors(rows) for dataset, rows in kept.items()},
    }


def build_tables(accuracy: dict, costs: dict) -> dict[str, tuple[Path, str]]:
    """{marker: (page, table)} of what was measured."""
    sets = accuracy["sets"]
    ranking = ranking_set(sets)
    results = Path("docs/results.md")
    tables = {
        "systems": (Path("README.md"), _summary(accuracy, costs)),
        "systems per class": (results, system_tables.classes_table(accuracy)),
        "systems differences": (results, _differences(sets, ranking)),
        "systems errors": (results, _errors(accuracy["errors"][ranking])),
    }
    if "machine" in costs:
        names = {name: system.row.title for name, system in read_systems().items()}
        tables["systems costs"] = (results, system_tables.costs_table(costs, names))
    if accuracy["losses"]:
        tables["systems losses"] = (results, system_tables.losses_table(accuracy["losses"]))
    return tables


def ranking_set(sets: dict) -> str:
    """The set that ranks systems: all images where they are kept, which have narrower intervals."""
    return CROSS_VALIDATION if CROSS_VALIDATION in sets else next(iter(sets))


def _differences(sets, ranking):
    compared = sets[ranking]
    tables = [system_tables.differences_table(compared, metric) for metric in ("AP", "AP75")]
    return "\n\n".join([f"{compared['images']} images, {ranking}:", *tables])


def _errors(errors):
    return "\n\n".join(system_tables.errors_table(errors, iou) for iou in ("0.5", "0.75"))


def _summary(accuracy, costs):
    by_name = {quoted["name"]: quoted for quoted in json.loads(REFERENCES.read_text())}
    systems = read_systems()
    return system_tables.systems_table(
        accuracy,
        costs,
        quoted={name: by_name[system.quoted] for name, system in systems.items()},
        devices={name: system.row.device for name, system in systems.items()},
    )


def draw(accuracy: dict, costs: dict, path: Path) -> None:
    """AP over milliseconds of every system that was timed, in PyTorch and in ONNX Runtime."""
    dataset = ranking_set(accuracy["sets"])
    systems = accuracy["sets"][dataset]["systems"]
    points = [
        {
            "name": systems[name]["name"],
            "AP": systems[name]["bbox"]["AP"],
            "interval": systems[name]["intervals"]["bbox"]["AP"],
            "milliseconds": {
                words: cost["milliseconds"][form]["median"] for form, words in DRAWN.items()
            },
        }
        for name, cost in costs["systems"].items()
        if name in systems
    ]
    if points:
        images = accuracy["sets"][dataset]["images"]
        title = f"{images} images, {dataset}; {costs['machine']['device']}"
        save(systems_figure(points, title), path)


def read(file: Path) -> dict:
    """Content of a JSON file, {} where there is none."""
    return json.loads(file.read_text()) if file.is_file() else {}


if __name__ == "__main__":
    sys.exit(main())
