"""Counts of fields that were put together, and of fields at another magnification.

What a laboratory's camera shows is larger, or otherwise magnified, than the images of BCCD. Fields
whose cells are marked stand for it: side by side, and resized.
"""

import time
from collections.abc import Sequence

import cv2
import numpy as np

from bccd.counting.counter import CellCounter
from bccd.counting.fit_intervals import MarkedField, match_fields
from bccd.data.images.decoding import read_bgr
from bccd.data.record_boxes import boxes_and_classes
from bccd.detections import Detections

FACTORS = (0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
SIDES = (1, 2, 3, 4)


def stitch(images: Sequence[np.ndarray], side: int) -> np.ndarray:
    """``side`` x ``side`` images (H, W, 3) of one size beside each other, row by row."""
    rows = [np.hstack(images[i * side : (i + 1) * side]) for i in range(side)]
    return np.vstack(rows)


def rescale(image: np.ndarray, factor: float) -> np.ndarray:
    """An image (H, W, 3) as a microscope of another magnification shows it."""
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation)


def marked_cells(records: Sequence[dict], count: int) -> np.ndarray:
    """Number of marked cells of each of ``count`` classes in each record, (N, K) int."""
    return np.array([np.bincount(boxes_and_classes(r)[1], minlength=count) for r in records])


def count_stitched(
    counter: CellCounter, records: Sequence[dict], side: int, timed: int = 0
) -> dict:
    """Count as many fields as ``side`` squared, one by one and side by side.

    Args:
        counter: counts.
        records: of images of one size, completely marked.
        side: fields in a row.
        timed: how often both are counted again for the times, in turns: what else a machine does
            meets both.

    Returns:
        dict: ``fields``, ``size`` (height, width) of the whole in pixels; ``marked``, ``single``
        and ``stitched``, {class name: number}; ``found``, {class name: share of the marks that a
        counted cell of the whole meets at an intersection over union of .5}; medians of the
        processor's time, ``milliseconds_single`` of all fields and ``milliseconds_stitched``.
    """
    records = records[: side * side]
    images = [read_bgr(record["file_name"]) for record in records]
    large, names = stitch(images, side), counter.class_names
    (single, first, _), (stitched, first_stitched, (result,)) = (
        _count_all(counter, each) for each in (images, [large])
    )
    times = [[_count_all(counter, each)[1] for each in (images, [large])] for _ in range(timed)]
    # The first time an image of a new size is seen, PyTorch prepares for it.
    times = np.median(times or [[first, first_stitched]], axis=0).tolist()
    marked = marked_cells(records, len(names)).sum(axis=0)
    return {
        "fields": len(records),
        "size": large.shape[:2],
        "marked": dict(zip(names, marked.tolist(), strict=True)),
        "single": single,
        "stitched": stitched,
        "found": _found(result, records, side, names),
        "milliseconds_single": times[0],
        "milliseconds_stitched": times[1],
    }


def count_rescaled(
    counter: CellCounter, records: Sequence[dict], factors: Sequence[float] = FACTORS
) -> dict:
    """Count fields at several magnifications.

    Args:
        counter: counts.
        records: completely marked.
        factors: by which the images are magnified.

    Returns:
        dict: ``fields``; ``marked``, {class name: number}; ``counted``, a list of {"factor",
        class name: number, "noted": images whose counts carry notes}.
    """
    names = counter.class_names
    marked = marked_cells(records, len(names)).sum(axis=0)
    images = [read_bgr(record["file_name"]) for record in records]
    counted = []
    for factor in factors:
        results = [counter(rescale(i, factor), channel_order="BGR") for i in images]
        totals = {name: sum(r.counts[name] for r in results) for name in names}
        counted.append({"factor": factor, **totals, "noted": sum(bool(r.notes) for r in results)})
    return {
        "fields": len(records),
        "marked": dict(zip(names, marked.tolist(), strict=True)),
        "counted": counted,
    }


def _found(result, records, side, names):
    """Shares of the marks of fields that were found in the whole, by class name."""
    boxes, classes = [], []
    for number, record in enumerate(records):
        row, column = divmod(number, side)
        offset = [column * result.size[1] / side, row * result.size[0] / side] * 2
        of_field = boxes_and_classes(record)
        boxes.append(np.reshape(of_field[0], (-1, 4)) + offset)
        classes.append(of_field[1])
    found = Detections(result.size, result.boxes, result.scores, result.classes)
    field = MarkedField(found, 0.0, np.concatenate(boxes), np.concatenate(classes))
    matches = match_fields([field], names, 0.5)
    return {
        name: float(match.correct[0].sum() / max(1, match.positives.sum()))
        for name, match in zip(names, matches, strict=True)
    }


def _count_all(counter: CellCounter, images: Sequence[np.ndarray]) -> tuple[dict, float, list]:
    """Totals by class name, the milliseconds of the processor it took, and the results."""
    start = time.process_time()
    results = [counter(image, channel_order="BGR") for image in images]
    milliseconds = 1e3 * (time.process_time() - start)
    totals = {n: sum(r.counts[n] for r in results) for n in counter.class_names}
    return totals, milliseconds, results


def stitched_table(runs: Sequence[dict]) -> str:
    """Markdown: a row for each model and number of fields."""
    lines = [
        "| model | fields | pixels | classes | marked | one by one | side by side | marks found | "
        "its time |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        for row in run["stitched"]:
            height, width = row["size"]
            cells = [_in_words(row[key]) for key in ("marked", "single", "stitched")]
            cells.append(" / ".join(f"{share:.0%}" for share in row["found"].values()))
            names = " / ".join(row["marked"])
            first = [f"`{run['model']}`", str(row["fields"]), f"{width} x {height}", names]
            ratio = row["milliseconds_stitched"] / row["milliseconds_single"]
            lines.append(f"| {' | '.join([*first, *cells, f'{ratio:.2f}'])} |")
    return "\n".join(lines)


def rescaled_table(runs: Sequence[dict]) -> str:
    """Markdown: a row for each model and data set, a column for each magnification."""
    factors = [row["factor"] for row in runs[0]["rescaled"][0]["counted"]]
    lines = [
        "| model | data set, fields | marked | " + " | ".join(f"{f:g}" for f in factors) + " |",
        "|---|---|---|" + "---|" * len(factors),
    ]
    for run in runs:
        for row in run["rescaled"]:
            names = list(row["marked"])
            cells = [_in_words({n: c[n] for n in names}) for c in row["counted"]]
            first = [f"`{run['model']}`", f"`{row['dataset']}`, {row['fields']}"]
            lines.append(f"| {' | '.join([*first, _in_words(row['marked']), *cells])} |")
    return "\n".join(lines)


def _in_words(counts):
    return " / ".join(str(count) for count in counts.values())
