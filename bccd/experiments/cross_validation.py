"""A cross-validation as one file of ``results/folds``: the detections of all images, compact."""

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bccd.data.formats.coco import to_coco
from bccd.data.records import load_records
from bccd.evaluation.operating_point import thresholds
from bccd.experiments.ablation_results import read_validations
from bccd.experiments.kept_results import DETECTIONS

SUFFIX = ".json.gz"
# Decimals that are kept of coordinates, in pixels, and of scores: finer than any label.
_BOX_DECIMALS, _SCORE_DECIMALS = 1, 5


@dataclass(frozen=True)
class CrossValidation:
    """The models of all folds, each on the images that it was not trained on.

    Attributes:
        name: in the tables.
        class_names: in the order of the category ids.
        folds: for each fold ``dataset``, ``thresholds`` ({class: score}), ``iterations``,
            ``seconds`` of the training steps, ``best`` (validation AP in percent) and ``machine``.
        detections: for each fold COCO results.
    """

    name: str
    class_names: list[str]
    folds: list[dict]
    detections: list[list[dict]]

    def truth(self, fold: int) -> dict:
        """COCO ground truth of the images of a fold, counted from 0."""
        records = load_records(self.folds[fold]["dataset"], self.class_names, need_boxes=True)
        return to_coco(records, self.class_names)


def pool_folds(output_dirs: Sequence[Path], name: str) -> CrossValidation:
    """The evaluations of all folds together.

    Args:
        output_dirs: OUTPUT_DIR of ``train_net.py --eval-only`` of each fold, in which the fold was
            trained, too. What the training left is optional.
        name: in the tables.

    Raises:
        FileNotFoundError: a fold is not evaluated.
        ValueError: two folds have the same test images, or other classes.
    """
    folds, detections, classes = [], [], []
    for output_dir in output_dirs:
        inference = output_dir / "inference"
        points = json.loads((inference / "operating_points.json").read_text())["classes"]
        folds.append(_describe(output_dir, points))
        detections.append(json.loads((inference / DETECTIONS).read_text()))
        classes.append(list(points))
    datasets = [fold["dataset"] for fold in folds]
    if len(set(datasets)) < len(datasets) or any(names != classes[0] for names in classes):
        raise ValueError(
            f"{', '.join(map(str, output_dirs))} were evaluated on {', '.join(datasets)}, with the "
            f"classes {classes}: expected other images and the same classes in each"
        )
    return CrossValidation(name, classes[0], folds, detections)


def _describe(output_dir, points):
    inference = output_dir / "inference"
    fold = {
        "dataset": json.loads((inference / "evaluation.json").read_text())["dataset"],
        "thresholds": thresholds(points),
        "machine": json.loads((inference / "timing.json").read_text())["machine"],
    }
    if (output_dir / "metrics.json").is_file():
        training = read_validations(output_dir)
        fold |= {key: training[key] for key in ("iterations", "seconds")}
        fold["best"] = training["best"]["AP"]
    return fold


def write_cross_validation(cross_validation: CrossValidation, file: Path) -> None:
    """Write a file that :func:`read_cross_validation` reads; its folder is made.

    Coordinates are rounded to a tenth of a pixel, scores to five decimals.
    """
    content = {
        "name": cross_validation.name,
        "class_names": cross_validation.class_names,
        "folds": [
            {**fold, "detections": _pack(found)}
            for fold, found in zip(cross_validation.folds, cross_validation.detections, strict=True)
        ],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    # No time and name in the header: the same detections give the same file.
    file.write_bytes(gzip.compress(json.dumps(content, separators=(",", ":")).encode(), mtime=0))


def _pack(detections):
    """{image id: [category id, x, y, width, height, score, category id, ...]}, falling scores."""
    packed = {}
    for found in sorted(detections, key=lambda d: (d["image_id"], -d["score"])):
        box = (round(value, _BOX_DECIMALS) for value in found["bbox"])
        numbers = (found["category_id"], *box, round(found["score"], _SCORE_DECIMALS))
        packed.setdefault(found["image_id"], []).extend(numbers)
    return packed


def _unpack(packed):
    return [
        {"image_id": int(i), "category_id": n[k], "bbox": n[k + 1 : k + 5], "score": n[k + 5]}
        for i, n in packed.items()
        for k in range(0, len(n), 6)
    ]


def read_cross_validation(file: Path) -> CrossValidation:
    """Read what :func:`write_cross_validation` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    try:
        content = json.loads(gzip.decompress(file.read_bytes()))
        detections = [_unpack(fold.pop("detections")) for fold in content["folds"]]
        return CrossValidation(**content, detections=detections)
    except FileNotFoundError:
        raise
    except (EOFError, OSError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise ValueError(
            f"{file} is damaged ({error}); write it anew: tools/pool_folds.py"
        ) from error
