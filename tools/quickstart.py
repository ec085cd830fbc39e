#!/usr/bin/env python3
"""From nothing to counted cells (``make demo``): find images, count, train briefly, evaluate, draw.

The cells are counted twice: at once with a model that comes with the project, and by the detector
that was trained here. Uses BCCD where it is under $DETECTRON2_DATASETS (default ./datasets), else
downloads it, else, without a network, synthetic smears. Each step is a command of the project,
printed before it runs.
"""

import argparse
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tabulate import tabulate

from bccd.commands.serve import PORT
from bccd.counting.count_table import read_table
from bccd.data.bccd_classes import CLASS_NAMES
from bccd.data.sources.catalog import dataset_root, register_datasets

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/quick_schedules/ssd_lite_bccd_quick.yaml"
DRAWN = 6  # test images in the pictures
DOWNLOAD_FAILED = 3  # status of prepare_bccd.py when the data could not be downloaded


def start(*command: str) -> int:
    """Run a command of the project from its root; returns its exit status."""
    return subprocess.run([sys.executable, *command], cwd=ROOT).returncode


def run(*command: str) -> None:
    """As ``start``; a failure ends this script."""
    print(f"\n$ {shlex.join(['python', *command])}", flush=True)
    status = start(*command)
    if status:
        sys.exit(f"quickstart: this command failed with status {status}; see above.")


def choose_data() -> str:
    """The prefix of the data sets to use: ``bccd_paper`` or ``smears``."""
    bccd = dataset_root() / "BCCD"
    if bccd.is_dir():
        print(f"== Using BCCD in {bccd}")
        return "bccd_paper"
    print(f"== No BCCD in {dataset_root()}: downloading it")
    status = start("datasets/prepare_bccd.py")
    if status == 0:
        return "bccd_paper"
    if status != DOWNLOAD_FAILED:
        sys.exit("quickstart: BCCD cannot be used; the messages above say why.")
    print("== BCCD could not be downloaded. Using synthetic smears: the figures below say nothing")
    print("   about real blood. Put BCCD in place (datasets/README.md) and run make demo again.")
    return "smears"


def test_files(dataset: str, count: int) -> list[str]:
    """Paths of ``count`` images spread evenly over a registered data set."""
    from detectron2.data import DatasetCatalog
    from detectron2.utils.file_io import PathManager

    register_datasets()
    records = DatasetCatalog.get(dataset)
    step = max(1, len(records) // count)
    return [PathManager.get_local_path(r["file_name"]) for r in records[::step][:count]]


def summary(output: Path) -> None:
    """Print the metric table, the counts and where everything lies."""
    bbox = json.loads((output / "inference" / "evaluation.json").read_text())["bbox"]
    rows = [["all", *(bbox.get(k) for k in ("AP", "AP50", "AP75"))]]
    rows += [[n, *(bbox.get(f"{k}-{n}") for k in ("AP", "AP50", "AP75"))] for n in CLASS_NAMES]
    print("\n== Accuracy on the test images after this short schedule (COCO, percent)")
    print(tabulate(rows, ("class", "AP", "AP50", "AP75"), "github", ".1f", missingval="n/a"))
    for folder, model in (("demo", "the detector trained here"), ("counted", "the shipped model")):
        print(f"\n== Counts of the images that were drawn, {model}")
        print(tabulate(read_table(output / folder / "counts.csv"), "keys", "github"))
    print(f"\n== Everything is in {output}")
    for what, where in (
        ("images and counts with the model that comes with the project", "counted/"),
        ("images and counts with the one trained here", "demo/"),
        ("ground truth beside prediction, curves", "figures/"),
        ("metrics, counts and detections as JSON and CSV", "inference/"),
        ("checkpoint with its operating points", "model_best.pth"),
    ):
        print(f"   {where:16} {what}")


def invite(files: list[str], output: Path) -> None:
    """Say how to look at the images that were drawn, and correct their cells, in the browser."""
    fields = output / "fields"
    fields.mkdir(exist_ok=True)
    for file in files:
        shutil.copy(file, fields)
    command = shlex.join(["bccd", "serve", str(fields), "--study", str(output / "study")])
    print("\n== Look at these fields, correct and count them in the browser (docs/serve.md):")
    print("   source .venv/bin/activate")
    print(f"   {command}")
    print(f"   opens http://127.0.0.1:{PORT}/")


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "quickstart")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="KEY VALUE pairs")
    args = parser.parse_args(argv)
    output = args.output.resolve()

    data = choose_data()
    splits = [f"DATASETS.{part.upper()}" for part in ("train", "val", "test")]
    common = ["--config-file", CONFIG]
    opts = ["OUTPUT_DIR", str(output)]
    for key in splits:
        opts += [key, f"('{data}_{key.split('.')[1].lower()}',)"]
    opts += args.opts
    weights = ["MODEL.WEIGHTS", str(output / "model_best.pth")]

    files = test_files(f"{data}_test", DRAWN)
    run("demo.py", "--input", *files, "--output", str(output / "counted"))
    run("train_net.py", *common, *opts)
    run("train_net.py", *common, "--eval-only", *opts, *weights)
    drawn = ["--input", *files, "--output", str(output / "demo")]
    run("demo.py", *common, *drawn, "--opts", *opts, *weights)
    results = ["--results", str(output / "inference"), "--dataset", f"{data}_test"]
    run("tools/visualize_results.py", *results, "--output", str(output / "figures"))
    summary(output)
    invite(files, output)


if __name__ == "__main__":
    main()
