#!/usr/bin/env python3
"""Keep an evaluation as a row of results: copy what the tables are built from to results/<row>/.

    python tools/keep_results.py --from output/ssd_lite --row ssd_lite --name "SSD lite"

``--from`` is the OUTPUT_DIR of ``train_net.py --eval-only``. results/README.md tells what a row
holds; ``tools/compare.py`` builds the tables.
"""

import argparse
import gzip
import json
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Of OUTPUT_DIR/inference.
EVALUATION = (
    "evaluation.json",
    "timing.json",
    "operating_points.json",
    "counts.csv",
    "counts_summary.json",
    "per_class.csv",
)
DETECTIONS = "coco_instances_results.json"
# Of OUTPUT_DIR, where the model was trained there.
TRAINING = ("config.yaml", "metrics.json")


def keep(output_dir, folder, name, note=""):
    """Copy the results of ``output_dir`` to ``folder``, with ``row.json``.

    Raises:
        FileNotFoundError: there is no complete evaluation in ``output_dir``.
    """
    inference = output_dir / "inference"
    if missing := [n for n in (*EVALUATION, DETECTIONS) if not (inference / n).is_file()]:
        raise FileNotFoundError(
            f"{inference} lacks {', '.join(missing)}; run train_net.py --eval-only there first"
        )
    folder.mkdir(parents=True, exist_ok=True)
    files = [inference / n for n in EVALUATION] + [output_dir / n for n in TRAINING]
    for file in files:
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    # No time and name in the header: the same detections give the same file.
    packed = gzip.compress((inference / DETECTIONS).read_bytes(), mtime=0)
    (folder / f"{DETECTIONS}.gz").write_bytes(packed)
    row = {"name": name, **({"note": note} if note else {})}
    (folder / "row.json").write_text(json.dumps(row) + "\n")


def main(argv=None):
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--from", dest="output_dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--row", required=True, help="folder below results/")
    parser.add_argument("--name", required=True, help="name in the tables")
    parser.add_argument("--note", default="", help="in brackets behind the name, e.g. 8 views")
    parser.add_argument("--results", type=Path, default=ROOT / "results", metavar="DIR")
    args = parser.parse_args(argv)
    try:
        keep(args.output_dir, args.results / args.row, args.name, args.note)
    except OSError as error:
        print(f"keep_results: {error}", file=sys.stderr)
        return 1
    print(f"{args.results / args.row}: {args.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
