"""Figures of an evaluation: truth beside prediction, scores, counts per image."""

import gzip
import json
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from detectron2.structures import Boxes, pairwise_iou
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bccd.config import CLASS_NAMES
from bccd.data.coco_json import to_coco
from bccd.data.inputs import read_bgr
from bccd.evaluation.coco import match_boxes
from bccd.evaluation.counts import count_cells, summarise_counts
from bccd.evaluation.operating_point import keep_above, thresholds
from bccd.visualization.dataset import boxes_and_classes
from bccd.visualization.drawing import draw_detections
from bccd.visualization.style import COLORS, label_axes, new_figure, show_image


@dataclass(frozen=True)
class Results:
    """Ground truth and detections of one data set.

    Attributes:
        records: Detectron2 records.
        truth: the same as COCO ground truth.
        detections: list of COCO results, of any score.
        thresholds: {class name: score from which a detection counts}.
        iou: from which a detection is correct.
    """

    records: list
    truth: dict
    detections: list
    thresholds: dict
    iou: float


@dataclass(frozen=True)
class Comparison:
    """One image at the operating point: M annotated and P detected cells.

    Attributes:
        record: Detectron2 record.
        boxes, classes, scores: detections, (P, 4) XYXY, (P,) and (P,).
        correct: (P,) bool, the detection is matched to an annotated cell.
        found: (M,) bool, the annotated cell is matched to a detection.
        f1: 2 TP / (M + P); 1 where there is nothing on both sides.
    """

    record: dict
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    correct: np.ndarray
    found: np.ndarray
    f1: float


def load_results(folder, records):
    """Read what an evaluation wrote into ``OUTPUT_DIR/inference``.

    Args:
        folder: with ``coco_instances_results.json``, or the same compressed as ``.json.gz``, and
            ``operating_points.json``.
        records: Detectron2 records of the data set that was evaluated.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is not readable, or the detections belong to other images.
    """
    detections = _read_json(folder, "coco_instances_results.json")
    points = _read_json(folder, "operating_points.json")
    strangers = {d["image_id"] for d in detections} - {r["image_id"] for r in records}
    if strangers:
        raise ValueError(
            f"{folder} has detections in image {min(strangers)}, which is not in the data set: "
            "name the one that was evaluated"
        )
    limits = thresholds(points["classes"])
    return Results(records, to_coco(records), detections, limits, points["iou"])


def _read_json(folder, name):
    path, compressed = Path(folder, name), Path(folder, f"{name}.gz")
    try:
        if path.is_file():
            return json.loads(path.read_bytes())
        if compressed.is_file():
            return json.loads(gzip.decompress(compressed.read_bytes()))
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise ValueError(f"{folder}: {name} is damaged ({error}); evaluate again") from error
    raise FileNotFoundError(f"{path} is missing; train_net.py --eval-only writes it")


def compare_images(results):
    """One Comparison per image, the best F1 first; of equals the one with more cells."""
    kept = {record["image_id"]: [] for record in results.records}
    for detection in keep_above(results.truth, results.detections, results.thresholds):
        kept[detection["image_id"]].append(detection)
    found = [_compare(record, kept[record["image_id"]], results.iou) for record in results.records]
    return sorted(found, key=lambda c: (-c.f1, -len(c.found), c.record["image_id"]))


def _compare(record, detections, iou):
    detections = sorted(detections, key=lambda d: -d["score"])
    boxes = np.array([d["bbox"] for d in detections], dtype=float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = np.array([d["category_id"] - 1 for d in detections], dtype=int)
    scores = np.array([d["score"] for d in detections], dtype=float)
    correct, found = match_cells(boxes, classes, *boxes_and_classes(record), iou)
    total = len(correct) + len(found)
    f1 = 2 * float(correct.sum()) / total if total else 1.0
    return Comparison(record, boxes, classes, scores, correct, found, f1)


def match_cells(boxes, classes, true_boxes, true_classes, iou):
    """Match detections to annotated cells as COCO does, one to one and within the class.

    Args:
        boxes, classes: (P, 4) and (P,), by falling score.
        true_boxes, true_classes: (M, 4) and (M,).
        iou: least overlap of a match.

    Returns:
        (P,) bool, the detection is correct; (M,) bool, the cell is found.
    """
    overlaps = pairwise_iou(Boxes(torch.tensor(boxes)), Boxes(torch.tensor(true_boxes))).numpy()
    overlaps[classes[:, None] != true_classes[None, :]] = -1
    correct, found = np.zeros(len(boxes), dtype=bool), np.zeros(len(true_boxes), dtype=bool)
    for p, row in enumerate(overlaps):
        free = np.where(found, -1, row)
        if len(free) and free.max() >= iou:
            correct[p] = found[free.argmax()] = True
    return correct, found


def choose_images(comparisons, count):
    """Best, middle and worst images in equal parts, of a list in order of F1."""
    positions = np.linspace(0, len(comparisons) - 1, min(count, len(comparisons)))
    return [comparisons[position] for position in positions.round().astype(int)]


def draw_pair(comparison, **style):
    """Annotated and predicted boxes of one image, misses and false detections dashed.

    Returns:
        two RGB uint8 arrays of the same size.
    """
    image = read_bgr(comparison.record["file_name"])[:, :, ::-1]
    boxes, classes = boxes_and_classes(comparison.record)
    missed, wrong = ~comparison.found, ~comparison.correct
    title = f"ground truth ({missed.sum()} missed)"
    truth = draw_detections(image, boxes, classes, title=title, dashed=missed, **style)
    prediction = draw_detections(
        image,
        comparison.boxes,
        comparison.classes,
        comparison.scores,
        title=f"prediction ({wrong.sum()} false)",
        dashed=wrong,
        **style,
    )
    return truth, prediction


def join_pair(pair):
    """The two pictures of draw_pair side by side, a white gap between them."""
    gap = np.full((len(pair[0]), 16, 3), 255, dtype=np.uint8)
    return np.hstack((pair[0], gap, pair[1]))


def truth_beside_prediction(comparisons):
    """Figure 7 of the paper: ground truth left, prediction right, a row per image."""
    figure, axes = new_figure(2.95 * len(comparisons) + 0.4, len(comparisons), 2)
    for (left, right), comparison in zip(axes, comparisons, strict=True):
        truth, prediction = draw_pair(comparison, labels=False, legend=False, line_width=3)
        name = Path(comparison.record["file_name"]).stem
        missed, wrong = (~comparison.found).sum(), (~comparison.correct).sum()
        show_image(
            left, truth, f"{name}, ground truth: {len(comparison.found)} cells, {missed} missed"
        )
        show_image(
            right,
            prediction,
            f"prediction: {len(comparison.correct)} cells, {wrong} false, F1 {comparison.f1:.2f}",
        )
    handles = [Patch(color=color, label=name) for name, color in COLORS.items()]
    handles.append(Line2D([], [], color="0.3", linestyle="--", label="missed or false"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure


def score_histograms(results):
    """Scores of correct (up) and false (down) detections per class, with the operating point.

    The axis is linear up to 10 detections and logarithmic beyond, or the many worthless low scores
    would flatten everything else.
    """
    figure, axes = new_figure(3.0, columns=len(CLASS_NAMES), sharex=True)
    bins = np.linspace(0, 1, 26)
    matches = match_boxes(results.truth, results.detections, results.iou)
    for axis, match in zip(axes[0], matches, strict=True):
        sides = ((1, match.correct[0], COLORS[match.name]), (-1, match.wrong[0], "0.8"))
        for sign, chosen, color in sides:
            heights = sign * np.histogram(match.score[chosen], bins)[0]
            axis.bar(
                bins[:-1], heights, np.diff(bins), align="edge", color=color, ec="0.25", lw=0.5
            )
        axis.axhline(0, color="0.25", linewidth=0.8)
        threshold = results.thresholds[match.name]
        axis.axvline(threshold, color="black", linewidth=1, linestyle="--")
        axis.set_yscale("symlog", linthresh=10)
        axis.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axis.set_yticks([-1000, -300, -100, -30, -10, -5, 0, 5, 10, 30, 100, 300, 1000])
        axis.set_ylim(*(1.3 * np.array(_limits(axis))))
        label_axes(axis, "score", "", f"{match.name}, cut at {threshold:.2f}")
    axes[0, 0].set_ylabel(
        f"false      detections      correct\n(IoU ≥ {results.iou:g})", fontsize=9
    )
    return figure


def _limits(axis):
    """Lowest and highest bar, at least 5 from zero."""
    ends = [bar.get_height() for bar in axis.patches]
    return min(-5, *ends), max(5, *ends)


def count_scatter(results):
    """Predicted against annotated cells of each image per class; a dot's area counts the images."""
    counts = count_cells(results.truth, results.detections, results.thresholds)
    errors = summarise_counts(counts)
    figure, axes = new_figure(2.6, columns=len(CLASS_NAMES))
    for k, (axis, name) in enumerate(zip(axes[0], counts.class_names, strict=True)):
        pairs = Counter(
            zip(counts.true[:, k].tolist(), counts.predicted[:, k].tolist(), strict=True)
        )
        x, y = np.array(list(pairs)).T
        sizes = 14 * np.array(list(pairs.values()))
        axis.scatter(x, y, sizes, color=COLORS[name], edgecolor="0.25", linewidth=0.5, alpha=0.8)
        limit = max(x.max(), y.max()) + 1
        axis.plot([0, limit], [0, limit], color="0.5", linewidth=0.8, zorder=0)
        axis.set(xlim=(-0.5, limit), ylim=(-0.5, limit), aspect="equal")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(6, integer=True))
        mae, bias = errors[f"MAE-{name}"].item(), errors[f"bias-{name}"].item()
        text = f"{name}: MAE {mae:.2f}, bias {bias:+.2f}".replace("-", "\N{MINUS SIGN}")
        label_axes(axis, "annotated cells", "", text)
    axes[0, 0].set_ylabel("predicted cells\n(dot area: images)", fontsize=9)
    return figure
