"""Figures of an evaluation: truth beside prediction, scores, counts per image."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from bccd.data.classes import Color
from bccd.data.images.decoding import read_bgr
from bccd.data.record_boxes import boxes_and_classes
from bccd.evaluation.coco import match_boxes
from bccd.evaluation.counts import count_cells, summarise_counts
from bccd.evaluation.errors import CORRECT, Judgement, judge_image
from bccd.evaluation.operating_point import keep_above
from bccd.visualization.drawing import draw_detections
from bccd.visualization.style import figure_colors, label_axes, new_figure, new_panels, show_image

if TYPE_CHECKING:
    from bccd.evaluation.stored import Results


@dataclass(frozen=True)
class Comparison:
    """One image at the operating point: M annotated and P detected cells.

    Attributes:
        record: Detectron2 record.
        boxes, classes, scores: detections, (P, 4) XYXY, (P,) and (P,).
        judgement: bccd.evaluation.errors.Judgement of them.
        confirmed: (P,) bool, correct by a second annotation, or None where the image has none.
        class_names, class_colors: of the K classes, see ``class_colors``.
    """

    record: dict
    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray
    judgement: Judgement
    confirmed: np.ndarray | None
    class_names: Sequence[str]
    class_colors: Sequence[Color] | None

    @property
    def correct(self) -> np.ndarray:
        """(P,) bool, the detection is matched to an annotated cell."""
        return self.judgement.kind == CORRECT

    @property
    def found(self) -> np.ndarray:
        """(M,) bool, the annotated cell is matched to a detection."""
        return self.judgement.found

    @property
    def f1(self) -> float:
        """2 TP / (M + P); 1 where there is nothing on both sides."""
        total = len(self.correct) + len(self.found)
        return 2 * float(self.correct.sum()) / total if total else 1.0


def compare_images(results: "Results", second: Sequence[dict] | None = None) -> list[Comparison]:
    """One Comparison per image, the best F1 first; of equals the one with more cells.

    Args:
        second: Detectron2 records of another annotation of some of the images, or None.
    """
    by_image = {record["image_id"]: [] for record in results.records}
    for detection in keep_above(results.truth, results.detections, results.thresholds):
        by_image[detection["image_id"]].append(detection)
    second = {record["image_id"]: record for record in second or ()}
    found = [
        _compare(record, by_image[i], second.get(i), results)
        for i, record in zip(by_image, results.records, strict=True)
    ]
    return sorted(found, key=lambda c: (-c.f1, -len(c.found), c.record["image_id"]))


def _compare(record, detections, second, results):
    corners = np.array([d["bbox"] for d in detections], dtype=float).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    classes = np.array([d["category_id"] - 1 for d in detections], dtype=int)
    scores = np.array([d["score"] for d in detections], dtype=float)
    boxes = corners, classes, scores
    judgement = judge_image(*boxes, *boxes_and_classes(record), results.iou)
    confirmed = None
    if second is not None:
        confirmed = judge_image(*boxes, *boxes_and_classes(second), results.iou).kind == CORRECT
    classes = results.class_names, results.class_colors
    return Comparison(record, *boxes, judgement, confirmed, *classes)


def choose_images(comparisons: Sequence[Comparison], count: int) -> list[Comparison]:
    """Best, middle and worst images in equal parts, of a list in order of F1."""
    positions = np.linspace(0, len(comparisons) - 1, min(count, len(comparisons)))
    return [comparisons[position] for position in positions.round().astype(int)]


def truth_beside_prediction(comparisons: Sequence[Comparison]) -> Figure:
    """Figure 7 of the paper: ground truth left, prediction right, a row per image."""
    figure, axes = new_figure(2.95 * len(comparisons) + 0.4, len(comparisons), 2)
    for (left, right), comparison in zip(axes, comparisons, strict=True):
        truth, prediction = _draw_pair(comparison)
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
    colors = figure_colors(comparisons[0].class_names, comparisons[0].class_colors)
    handles = [Patch(color=color, label=name) for name, color in colors.items()]
    handles.append(Line2D([], [], color="0.3", linestyle="--", label="missed or false"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure


def _draw_pair(comparison):
    """Annotated and predicted boxes of one image as two pictures, misses and false ones dashed."""
    image = read_bgr(comparison.record["file_name"])[:, :, ::-1]
    cells = boxes_and_classes(comparison.record)
    detections = comparison.boxes, comparison.classes
    style = {"class_names": comparison.class_names, "colors": comparison.class_colors}
    style |= {"labels": False, "legend": False, "line_width": 3}
    return (
        draw_detections(image, *cells, dashed=~comparison.found, **style),
        draw_detections(image, *detections, dashed=~comparison.correct, **style),
    )


def score_histograms(results: "Results") -> Figure:
    """Scores of correct (up) and false (down) detections per class, with the operating point.

    The axis is linear up to 10 detections and logarithmic beyond, or the many worthless low scores
    would flatten everything else.
    """
    colors = figure_colors(results.class_names, results.class_colors)
    figure, axes = new_panels(len(colors), 3.0)
    bins = np.linspace(0, 1, 26)
    matches = match_boxes(results.truth, results.detections, results.iou)
    for axis, match in zip(axes, matches, strict=True):
        sides = ((1, match.correct[0], colors[match.name]), (-1, match.wrong[0], "0.8"))
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
    axes[0].set_ylabel(f"false      detections      correct\n(IoU ≥ {results.iou:g})", fontsize=9)
    return figure


def _limits(axis):
    """Lowest and highest bar, at least 5 from zero."""
    ends = [bar.get_height() for bar in axis.patches]
    return min(-5, *ends), max(5, *ends)


def count_scatter(results: "Results") -> Figure:
    """Predicted against annotated cells of each image per class; a dot's area counts the images."""
    counts = count_cells(results.truth, results.detections, results.thresholds)
    errors = summarise_counts(counts)
    colors = figure_colors(results.class_names, results.class_colors)
    figure, axes = new_panels(len(colors), 2.6)
    for k, (axis, name) in enumerate(zip(axes, counts.class_names, strict=True)):
        pairs = Counter(
            zip(counts.true[:, k].tolist(), counts.predicted[:, k].tolist(), strict=True)
        )
        x, y = np.array(list(pairs)).T
        sizes = 14 * np.array(list(pairs.values()))
        axis.scatter(x, y, sizes, color=colors[name], edgecolor="0.25", linewidth=0.5, alpha=0.8)
        limit = max(x.max(), y.max()) + 1
        axis.plot([0, limit], [0, limit], color="0.5", linewidth=0.8, zorder=0)
        axis.set(xlim=(-0.5, limit), ylim=(-0.5, limit), aspect="equal")
        for side in (axis.xaxis, axis.yaxis):
            side.set_major_locator(MaxNLocator(6, integer=True))
        mae, bias = errors[f"MAE-{name}"].item(), errors[f"bias-{name}"].item()
        text = f"{name}: MAE {mae:.2f}, bias {bias:+.2f}".replace("-", "\N{MINUS SIGN}")
        label_axes(axis, "annotated cells", "", text)
    axes[0].set_ylabel("predicted cells\n(dot area: images)", fontsize=9)
    return figure
