"""Precision-recall and training curves."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter

from bccd.data.classes import Color
from bccd.evaluation.coco import evaluate_boxes
from bccd.evaluation.curves import precision_recall
from bccd.visualization.style import figure_colors, label_axes, new_figure

if TYPE_CHECKING:
    from bccd.evaluation.stored import Results

_IOU_STYLES = {0.5: "-", 0.75: "--"}
# total loss in training and validation, AP on validation: neutral, the classes have the colours
_LINES = {"total_loss": ("training", "0.55"), "val_total_loss": ("validation", "black")}


def precision_recall_curves(results: "Results") -> Figure:
    """COCO's interpolated precision over recall per class, at IoU 0.50 and 0.75."""
    curves = precision_recall(evaluate_boxes(results.truth, results.detections), _IOU_STYLES)
    colors = figure_colors(results.class_names, results.class_colors)
    figure, axes = new_figure(3.4, width=4.6)
    axis, handles = axes[0, 0], []
    for name, by_iou in curves.items():
        text = name
        for iou, style in _IOU_STYLES.items() if by_iou else ():
            recall, precision = (np.array(by_iou[f"{iou:.2f}"][k]) for k in ("recall", "precision"))
            text += f"  AP{100 * iou:.0f} {100 * precision.mean():.1f}"
            reached = precision > 0  # beyond the highest recall there is no precision to show
            axis.plot(recall[reached], precision[reached], style, color=colors[name], linewidth=1.6)
        handles.append(Line2D([], [], color=colors[name], linewidth=2, label=text))
    handles += [
        Line2D([], [], color="0.3", linestyle=style, label=f"IoU ≥ {iou:.2f}")
        for iou, style in _IOU_STYLES.items()
    ]
    label_axes(axis, "recall", "precision")
    axis.set(xlim=(0, 1), ylim=(0, 1.03))
    axis.grid(color="0.9", linewidth=0.6)
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    return figure


def read_metrics(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Series of Detectron2's ``metrics.json``, one JSON object per line.

    A resumed run repeats iterations: the last value of each counts. A line that a crash cut short
    is passed over.

    Returns:
        {name: (iterations, values)}, in order of iteration.
    """
    series = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        iteration = entry.pop("iteration", None)
        for name, value in entry.items():
            if iteration is not None and isinstance(value, int | float):
                series.setdefault(name, {})[iteration] = value
    return {name: tuple(np.array(sorted(points.items())).T) for name, points in series.items()}


def training_curves(
    metrics: Mapping[str, tuple[np.ndarray, np.ndarray]],
    class_names: Sequence[str],
    colors: Sequence[Color] | None = None,
) -> Figure:
    """Loss (training and validation), validation AP and learning rate over iterations.

    Args:
        metrics: as ``read_metrics`` gives them; a series that is missing is left out.
        class_names, colors: of the K classes, see ``class_colors``.
    """
    figure, axes = new_figure(5.6, 3, width=5.4, sharex=True, height_ratios=(2, 2, 1))
    loss, precision, rate = axes[:, 0]
    for key, (label, color) in _LINES.items():
        if key in metrics:
            _plot(loss, metrics[key], label, color, marker="o" if key.startswith("val_") else None)
    label_axes(loss, "", "total loss")
    if "total_loss" in metrics and (metrics["total_loss"][1] > 0).all():
        loss.set_yscale("log")
        for which in (loss.yaxis.set_major_formatter, loss.yaxis.set_minor_formatter):
            which(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.5)))
    for name, color in {"AP": "black", "AP50": "0.55"}.items():
        if f"bbox/{name}" in metrics:
            _plot(precision, metrics[f"bbox/{name}"], f"{name}, all classes", color, marker="o")
    for name, color in figure_colors(class_names, colors).items():
        if f"bbox/AP-{name}" in metrics:
            _plot(precision, metrics[f"bbox/AP-{name}"], f"AP {name}", color, marker="o")
    label_axes(precision, "", "validation AP (%)")
    precision.set_ylim(bottom=0)
    if "lr" in metrics:
        _plot(rate, metrics["lr"], None, "black")
    label_axes(rate, "iteration", "learning rate")
    rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    rate.yaxis.get_offset_text().set_fontsize(8)
    for axis in (loss, precision):
        axis.grid(color="0.9", linewidth=0.6)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _plot(axis, series, label, color, marker=None):
    finite = np.isfinite(series[1])
    iterations, values = series[0][finite], series[1][finite]
    axis.plot(iterations, values, color=color, label=label, linewidth=1.2, marker=marker, ms=3)
