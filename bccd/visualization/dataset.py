"""Figures of a data set: class and box size histograms, annotated fields, augmentations."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from detectron2.data import transforms as T
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bccd.data.classes import Color
from bccd.data.images.decoding import read_bgr
from bccd.data.record_boxes import boxes_and_classes
from bccd.visualization.drawing import draw_detections
from bccd.visualization.style import figure_colors, label_axes, new_figure, show_image

_BIN_WIDTH = 10  # pixels


def class_histogram(
    datasets: Mapping[str, Sequence[dict]],
    class_names: Sequence[str],
    colors: Sequence[Color] | None = None,
) -> Figure:
    """Annotated cells per class (figure 4 of the paper), a group of bars for each data set.

    Args:
        datasets: {name: records}.
        class_names, colors: of their K classes, see ``class_colors``.
    """
    group = 0.75 * max(len(class_names), 2)  # inches
    figure, axes = new_figure(3.2, width=max(3.6, group * len(datasets)))
    axis, width = axes[0, 0], 0.81 / len(class_names)
    colors = figure_colors(class_names, colors)
    names = []
    for position, (name, records) in enumerate(datasets.items()):
        counts = np.bincount(
            [a["category_id"] for record in records for a in record["annotations"]],
            minlength=len(class_names),
        )
        for k, cls in enumerate(class_names):
            label = cls if position == 0 else None
            bars = axis.bar(
                position + (k - (len(class_names) - 1) / 2) * width,
                counts[k],
                width=0.92 * width,
                color=colors[cls],
                edgecolor="0.25",
                linewidth=0.6,
                label=label,
            )
            axis.bar_label(bars, labels=[f"{counts[k]:,}"], fontsize=8, padding=1)
        names.append(f"{name}\n{len(records)} images, {counts.sum():,} cells")
    axis.set_xticks(range(len(names)), names)
    axis.set_xlim(-0.5, len(names) - 0.5)
    axis.margins(y=0.1)
    label_axes(axis, "", "annotated cells")
    axis.legend(fontsize=8, frameon=False)
    return figure


def box_size_histogram(
    records: Sequence[dict], class_names: Sequence[str], colors: Sequence[Color] | None = None
) -> Figure:
    """Distribution of box sizes, as the square root of the area, for each class.

    Args:
        records: Detectron2 records.
        class_names, colors: of their K classes, see ``class_colors``.
    """
    colors = figure_colors(class_names, colors)
    boxes, classes = zip(*map(boxes_and_classes, records), strict=True)
    boxes, classes = np.concatenate(boxes), np.concatenate(classes)
    sides = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1))
    bins = np.arange(0, sides.max(initial=_BIN_WIDTH) + _BIN_WIDTH, _BIN_WIDTH)
    figure, axes = new_figure(1.4 * len(class_names), len(class_names), width=4.8, sharex=True)
    for k, (axis, cls) in enumerate(zip(axes[:, 0], class_names, strict=True)):
        values = sides[classes == k]
        axis.hist(values, bins, color=colors[cls], edgecolor="0.25", linewidth=0.4)
        axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        label_axes(axis, "", "boxes")
        text = f"{cls}: {len(values):,} boxes"
        if len(values):
            text += f", median {np.median(values):.0f} px"
            axis.axvline(np.median(values), color="black", linewidth=0.8, linestyle="--")
        axis.set_title(text, fontsize=9, loc="left")
    axes[-1, 0].set_xlabel("side of a square of the box's area (pixels)", fontsize=9)
    return figure


def choose_field(records: Sequence[dict], num_classes: int) -> dict:
    """The record that shows the most: all classes, several of each, then most cells."""

    def richness(record):
        counts = np.bincount(boxes_and_classes(record)[1], minlength=num_classes)
        return np.count_nonzero(counts), counts.min(), counts.sum(), -record["image_id"]

    return max(records, key=richness)


def annotated_field(
    record: dict, class_names: Sequence[str], colors: Sequence[Color] | None = None
) -> np.ndarray:
    """A field of view with its annotated boxes (figure 5 of the paper), RGB uint8.

    Args:
        record: Detectron2 record.
        class_names, colors: of the K classes, see ``class_colors``.
    """
    boxes, classes = boxes_and_classes(record)
    image = read_bgr(record["file_name"])[:, :, ::-1]
    title = record["file_name"].rsplit("/", 1)[-1]
    style = {"class_names": class_names, "colors": colors, "title": title}
    return draw_detections(image, boxes, classes, **style)


def augmentation_gallery(
    records: Sequence[dict],
    augmentations: Sequence[tuple[str, T.Augmentation | list[T.Augmentation]]],
    class_names: Sequence[str],
    colors: Sequence[Color] | None = None,
    columns: int = 4,
    seed: int = 0,
) -> Figure:
    """Augmentations alone or together, each drawn once on every one of a few fields.

    Args:
        records: Detectron2 records, 1 to ``columns`` fields.
        augmentations: with their titles; those of a list are applied in turn.
        class_names, colors: of the K classes, see ``class_colors``.
        columns: panels side by side.
        seed: of the random draws.
    """
    panels = [(title, each, record) for title, each in augmentations for record in records]
    rows = math.ceil(len(panels) / columns)
    figure, axes = new_figure(1.6 * rows, rows, columns)
    for axis in axes.flat:
        axis.set_axis_off()
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        for axis, (title, augmentation, record) in zip(axes.flat, panels, strict=False):
            picture = _augmented(record, augmentation, class_names, colors)
            show_image(axis, picture, title)
    finally:
        np.random.set_state(state)
    return figure


def _augmented(record, augmentation, class_names, colors):
    boxes, classes = boxes_and_classes(record)
    augmentations = augmentation if isinstance(augmentation, list) else [augmentation]
    sample = T.AugInput(np.ascontiguousarray(read_bgr(record["file_name"])), boxes=boxes)
    T.AugmentationList(augmentations)(sample)
    height, width = sample.image.shape[:2]
    boxes = sample.boxes.clip(0, (width, height, width, height))
    seen = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    image = sample.image[:, :, ::-1].astype(np.uint8)
    small = {"labels": False, "legend": False, "line_width": 4, "long_side": 400}
    style = {"class_names": class_names, "colors": colors, **small}
    return draw_detections(image, boxes[seen], classes[seen], **style)
