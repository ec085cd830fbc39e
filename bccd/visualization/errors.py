"""Ground truth beside prediction, each box coloured by what became of it."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import withStroke

from bccd.data.images.decoding import read_bgr
from bccd.data.record_boxes import boxes_and_classes
from bccd.visualization.style import PAGE_WIDTH, new_figure, show_image

if TYPE_CHECKING:
    from bccd.visualization.results import Comparison

CORRECT, MISSED, UNLABELLED = "correct", "missed", "only in second annotation"
BADLY_PLACED, WRONG_CLASS, DUPLICATE = "badly placed", "wrong class", "duplicate"
NOT_ANNOTATED = "nothing annotated"
# Kinds of bccd.evaluation.errors; "both" is on a cell of another class and beside it.
_VERDICTS = {
    "correct": CORRECT,
    "localisation": BADLY_PLACED,
    "classification": WRONG_CLASS,
    "both": WRONG_CLASS,
    "duplicate": DUPLICATE,
    "background": NOT_ANNOTATED,
}
# Saturated, and away from the pink and violet of a stained smear.
COLORS = {
    CORRECT: "#1a9641",
    MISSED: "#0050ff",
    BADLY_PLACED: "#ff8c00",
    WRONG_CLASS: "#000000",
    DUPLICATE: "#00c8d7",
    NOT_ANNOTATED: "#e60000",
    UNLABELLED: "#ffe600",
}
_ASPECT = 0.75  # height by width of a field; figures are laid out for it
_TITLE_LENGTH = 8  # characters of a line over one image, by inches of the figure


def judge_detections(comparison: "Comparison") -> list[str]:
    """Verdict, one of COLORS, on each detection.

    A wrong detection that is correct by a second annotation says so, whatever its kind.

    Args:
        comparison: of P detections.

    Returns:
        P verdicts.
    """
    verdicts = np.array([_VERDICTS[kind] for kind in comparison.judgement.kind], dtype=object)
    if comparison.confirmed is not None:
        verdicts[comparison.confirmed & ~comparison.correct] = UNLABELLED
    return verdicts.tolist()


def judge_cells(comparison: "Comparison") -> list[str]:
    """Verdict, one of COLORS, on each of the M annotated cells."""
    judgement = comparison.judgement
    verdicts = np.where(judgement.found, CORRECT, MISSED).astype(object)
    for kind in ("localisation", "classification"):
        near = judgement.target[judgement.kind == kind]
        verdicts[near[~judgement.found[near]]] = _VERDICTS[kind]
    return verdicts.tolist()


def error_figure(
    comparisons: "Sequence[Comparison]", iou: float, width: float = PAGE_WIDTH
) -> Figure:
    """A row per image: annotation left, detections right, what is wrong in colour and with a label.

    Args:
        comparisons: one or more.
        iou: from which a detection counts as correct; for the caption.
        width: inches.
    """
    height = len(comparisons) * (width / 2 * _ASPECT + 0.45) + 0.6
    figure, axes = new_figure(height, len(comparisons), 2, width)
    asked = any(comparison.confirmed is not None for comparison in comparisons)
    for (left, right), comparison in zip(axes, comparisons, strict=True):
        _draw_truth(left, comparison)
        _draw_prediction(right, comparison, asked and comparison.confirmed is None)
    handles = [
        Patch(facecolor="none", edgecolor=color, lw=2, label=verdict)
        for verdict, color in COLORS.items()
        if asked or verdict != UNLABELLED
    ]
    caption = f"F1 of the image at the operating points; correct from IoU {iou:g} on"
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=4,
        fontsize=8,
        frameon=False,
        title=caption,
        title_fontsize=8,
    )
    return figure


def _draw_truth(axis, comparison):
    boxes, classes = boxes_and_classes(comparison.record)
    verdicts = judge_cells(comparison)
    name = Path(comparison.record["file_name"]).stem
    _show(axis, comparison, f"{name}: {_tally(verdicts, 'annotated')}")
    _draw_boxes(axis, boxes, verdicts, [comparison.class_names[k] for k in classes])


def _draw_prediction(axis, comparison, note_unasked):
    verdicts = judge_detections(comparison)
    title = f"F1 {comparison.f1:.2f}: {_tally(verdicts, 'detected')}"
    _show(axis, comparison, title + note_unasked * " (has no second annotation)")
    texts = []
    for i, verdict in enumerate(verdicts):
        name = comparison.class_names[comparison.classes[i]]
        text = f"{name} {100 * comparison.scores[i]:.0f}%"
        place = f", IoU {comparison.judgement.overlap[i]:.2f}" if verdict == BADLY_PLACED else ""
        texts.append(text + place)
    _draw_boxes(axis, comparison.boxes, verdicts, texts)


def _show(axis, comparison, title):
    image = read_bgr(comparison.record["file_name"])[:, :, ::-1]
    # a line may end after a comma alone
    parts = title.replace(" ", "\N{NO-BREAK SPACE}").replace(",\N{NO-BREAK SPACE}", ", ")
    show_image(axis, image, fill(parts, int(_TITLE_LENGTH * axis.figure.get_figwidth())))


def _tally(verdicts, noun):
    """For example "7 annotated, 2 missed, 1 badly placed"."""
    wrong = [f"{verdicts.count(v)} {v}" for v in COLORS if v != CORRECT and v in verdicts]
    return ", ".join([f"{len(verdicts)} {noun}", *wrong])


def _draw_boxes(axis, boxes, verdicts, texts):
    """Draw boxes, the wrong ones last, thicker and with their text."""
    order = sorted(range(len(boxes)), key=lambda i: verdicts[i] != CORRECT)
    for i in order:
        (x0, y0, x1, y1), color = boxes[i], COLORS[verdicts[i]]
        width = 0.7 if verdicts[i] == CORRECT else 1.6
        rim = withStroke(linewidth=width + 0.8, foreground="white")
        axis.add_patch(
            Rectangle(
                (x0, y0), x1 - x0, y1 - y0, fill=False, ec=color, lw=width, path_effects=[rim]
            )
        )
        if verdicts[i] != CORRECT:
            _write(axis, boxes[i], texts[i], color)


def _write(axis, box, text, color):
    """Write into the upper corner that is farther from the middle of the image."""
    right_edge = axis.get_xlim()[1]
    at_right = box[0] + box[2] > right_edge
    axis.text(
        min(box[2], right_edge) - 4 if at_right else max(box[0], 0) + 4,
        max(box[1], 0) + 4,
        text,
        size=5,
        ha="right" if at_right else "left",
        va="top",
        bbox={"facecolor": "white", "edgecolor": color, "pad": 0.8, "lw": 0.6},
    )
