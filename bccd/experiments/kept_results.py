"""A row of ``results/``: what is kept of an evaluation."""

import gzip
import json
import shutil
from pathlib import Path

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
# Decimals that are kept of coordinates, in pixels, and of scores: half the bytes, the same AP.
_BOX_DECIMALS, _SCORE_DECIMALS = 3, 6


def keep_results(output_dir: Path, folder: Path, name: str, note: str = "") -> None:
    """Copy what the tables are built from, with ``row.json``.

    Args:
        output_dir: OUTPUT_DIR of ``train_net.py --eval-only``.
        folder: of the row, below ``results/``; made if it is not there.
        name: in the tables.
        note: in brackets behind the name, e.g. "4 views".

    Raises:
        FileNotFoundError: no complete evaluation in ``output_dir``.
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
    rounded = [_rounded(d) for d in json.loads((inference / DETECTIONS).read_text())]
    # No time and name in the header: the same detections give the same file.
    packed = gzip.compress(json.dumps(rounded).encode(), mtime=0)
    (folder / f"{DETECTIONS}.gz").write_bytes(packed)
    row = {"name": name, **({"note": note} if note else {})}
    (folder / "row.json").write_text(json.dumps(row) + "\n")


def _rounded(detection):
    box = [round(value, _BOX_DECIMALS) for value in detection["bbox"]]
    return {**detection, "bbox": box, "score": round(detection["score"], _SCORE_DECIMALS)}
