"""The evaluation as tables for the screen and as JSON and CSV files."""

import csv
import json
import os
from typing import TYPE_CHECKING

from detectron2.utils.file_io import PathManager
from tabulate import tabulate

if TYPE_CHECKING:
    from bccd.evaluation.evaluator import Evaluation

_AP_METRICS = ("AP", "AP50", "AP75")
_COUNT_METRICS = ("MAE", "bias", "exact")


def format_tables(evaluation: "Evaluation") -> str:
    """Three tables: COCO metrics, COCO metrics per class, counts.

    Args:
        evaluation: evaluator.Evaluation.

    Returns:
        str, without "nan": what cannot be computed reads "n/a".
    """
    classes = evaluation.counts.class_names
    overall = [[m, _cell(evaluation, "bbox", m)] for m in evaluation.coco.metrics]
    per_class = [
        [name, int(matches.positives.sum())]
        + [_cell(evaluation, "bbox", f"{metric}-{name}") for metric in _AP_METRICS]
        for name, matches in zip(classes, evaluation.coco.matches, strict=True)
    ]
    totals = _count_totals(evaluation.counts)
    counts = [
        [name, f"{evaluation.points[name]['threshold']:.3f}", *totals[name].values()]
        + [_cell(evaluation, "count", f"{metric}-{name}", ".2f") for metric in _COUNT_METRICS]
        for name in classes
    ]
    means = [_cell(evaluation, "count", metric, ".2f") for metric in _COUNT_METRICS]
    counts.append(["mean of classes; exact in all", "", "", "", *means])
    interval = " [95% interval]" if evaluation.intervals else ""
    return "\n\n".join(
        [
            _table(["metric", f"percent{interval}"], overall),
            _table(["class", "annotated", *(f"{m}{interval}" for m in _AP_METRICS)], per_class),
            _table(
                ["cells per image", "score >=", "annotated", "counted", "MAE", "bias", "exact"],
                counts,
            ),
        ]
    )


def write_files(
    folder: str, evaluation: "Evaluation", detections: list[dict], coco_gt: dict, settings: dict
) -> None:
    """Write everything that was measured; n/a is null in JSON and "n/a" in CSV.

    Args:
        folder: made if it is not there.
        evaluation: evaluator.Evaluation.
        detections: list of COCO results; written under Detectron2's name for them.
        coco_gt: COCO ground truth as a dict, for the file names.
        settings: dict of what the numbers depend on; goes into ``evaluation.json``.
    """
    PathManager.mkdirs(folder)
    considered = sum(len(matches.score) for matches in evaluation.coco.matches)
    caps = {
        "max_dets": evaluation.coco.max_dets,
        "detections_beyond_max_dets": len(detections) - considered,
    }
    summary = {**settings, **caps, **evaluation.results, "intervals": evaluation.intervals}
    _write_json(folder, "coco_instances_results.json", detections)
    _write_json(folder, "evaluation.json", summary, indent=2)
    _write_per_class(folder, evaluation)
    _write_counts(folder, evaluation, coco_gt)
    _write_curves(folder, evaluation.curves)
    _write_confusion(folder, *evaluation.confusion)
    points = {
        "source": settings["operating_points_source"],
        "iou": settings["operating_points_iou"],
        "classes": evaluation.points,
    }
    if settings.get("class_colors"):
        points["class_colors"] = settings["class_colors"]
    _write_json(folder, "operating_points.json", points, indent=2)


def _write_per_class(folder, evaluation):
    header, rows = ["class", "annotated"], []
    for name, matches in zip(evaluation.coco.per_class, evaluation.coco.matches, strict=True):
        row = {"class": name, "annotated": int(matches.positives.sum())}
        for metric, value in evaluation.coco.per_class[name].items():
            row[metric] = None if value is None else 100 * value
            interval = evaluation.intervals.get("bbox", {}).get(f"{metric}-{name}")
            if metric in _AP_METRICS:
                row[f"{metric}_low"], row[f"{metric}_high"] = interval or (None, None)
        row.update(evaluation.points[name])
        row.update({m: evaluation.results["count"][f"{m}-{name}"] for m in _COUNT_METRICS})
        header = list(row)
        rows.append(row.values())
    _write_csv(folder, "per_class.csv", header, rows)


def _write_counts(folder, evaluation, coco_gt):
    counts = evaluation.counts
    file_names = {image["id"]: image["file_name"] for image in coco_gt["images"]}
    header = ["image_id", "file_name"]
    header += [f"{kind}_{name}" for name in counts.class_names for kind in ("true", "predicted")]
    pairs = [
        [n for pair in zip(true, predicted, strict=True) for n in pair]
        for true, predicted in zip(counts.true.tolist(), counts.predicted.tolist(), strict=True)
    ]
    rows = [[i, file_names[i], *row] for i, row in zip(counts.image_ids, pairs, strict=True)]
    _write_csv(folder, "counts.csv", header, rows)
    summary = {
        "totals": _count_totals(counts),
        "errors": evaluation.results["count"],
        "intervals": evaluation.intervals.get("count", {}),
    }
    _write_json(folder, "counts_summary.json", summary, indent=2)


def _write_curves(folder, curves):
    _write_json(folder, "pr_curves.json", curves)
    rows = [
        [name, iou, *point]
        for name, by_iou in curves.items()
        for iou, curve in (by_iou or {}).items()
        for point in zip(curve["recall"], curve["precision"], curve["score"], strict=True)
    ]
    _write_csv(folder, "pr_curves.csv", ["class", "iou", "recall", "precision", "score"], rows)


def _write_confusion(folder, labels, matrix):
    _write_json(folder, "confusion_matrix.json", {"labels": labels, "matrix": matrix.tolist()})
    rows = [[label, *row] for label, row in zip(labels, matrix.tolist(), strict=True)]
    _write_csv(folder, "confusion_matrix.csv", ["true \\ predicted", *labels], rows)


def _count_totals(counts):
    true, predicted = counts.true.sum(axis=0).tolist(), counts.predicted.sum(axis=0).tolist()
    return {
        name: {"true": true[k], "predicted": predicted[k]}
        for k, name in enumerate(counts.class_names)
    }


def _cell(evaluation, task, name, spec=".1f"):
    """The value with its interval, if there is one."""
    value = evaluation.results[task].get(name)
    if value is None:
        return "n/a"
    interval = evaluation.intervals.get(task, {}).get(name)
    if interval is None:
        return f"{value:{spec}}"
    return f"{value:{spec}} [{interval[0]:{spec}}, {interval[1]:{spec}}]"


def _table(header, rows):
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True)


def _write_json(folder, name, content, indent=None):
    with PathManager.open(os.path.join(folder, name), "w") as file:
        json.dump(content, file, indent=indent, allow_nan=False)
        file.write("\n")


def _write_csv(folder, name, header, rows):
    with PathManager.open(os.path.join(folder, name), "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([["n/a" if v is None else v for v in row] for row in rows])
