"""How often the 95% intervals of counts hold what is marked."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from bccd.counting.counter import CellCounter
from bccd.counting.fit_intervals import MarkedField, fit_intervals
from bccd.counting.intervals import CountIntervals
from bccd.data.images.decoding import read_bgr
from bccd.data.record_boxes import boxes_and_classes
from bccd.data.records import incomplete_classes, load_records
from bccd.experiments.fields import marked_cells, stitch

# Completely marked fields of three laboratories; those of "val" in no training.
LABORATORIES = {"BCCD": "bccd_relabelled_paper", "PBC": "txl_pbc_pbc", "Raabin": "txl_pbc_raabin"}
CALIBRATION_SETS = [f"{name}_val" for name in LABORATORIES.values()]
TEST_SETS = [f"{name}_test" for name in LABORATORIES.values()]
SUMS = (4, 16, 64)  # fields that are added up, as in a large one
_DRAWS = 500  # of such sums


def mark_fields(counter: CellCounter, dataset: str) -> list[MarkedField]:
    """What the counter's detector finds in a data set, and what is marked there.

    Args:
        counter: of a detector that knows its magnification.
        dataset: a registered name, or FORMAT:PATH.

    Raises:
        FileNotFoundError, ValueError: the data set cannot be read; the detector counts images as
            they are.
    """
    names = incomplete_classes(dataset)
    incomplete = frozenset(k for k, name in enumerate(counter.class_names) if name in names)
    fields = []
    for record in load_records(dataset, counter.class_names, need_boxes=True):
        image = read_bgr(record["file_name"])
        found, diameter = counter.find_all(image)
        boxes, classes = boxes_and_classes(record)
        area = image.shape[0] * image.shape[1] / diameter**2
        fields.append(MarkedField(found, area, boxes, classes, incomplete))
    return fields


def measure_coverage(
    counter: CellCounter,
    calibration: Mapping[str, Sequence[MarkedField]],
    tests: Mapping[str, Sequence[MarkedField]],
) -> list[dict]:
    """Coverage on test sets, calibrated on all laboratories and on all but the one of the test.

    Args:
        counter: whose fields they are.
        calibration: fields of each laboratory to choose intervals on, by the laboratory's name.
        tests: further fields of the same laboratories.

    Returns:
        a dict for each test set and class: ``laboratory``, ``class``, ``fields``, ``marked``,
        ``counted``, and for ``all`` and ``others`` (the test's laboratory was left out) a dict of
        ``coverage`` (share of the fields), ``width`` (mean of high - low) and ``sums``: the same
        two of as many fields added up.
    """
    names, rows = counter.class_names, []
    scores = list(counter.thresholds.values())
    everything = fit_intervals(names, scores, calibration)
    for laboratory, fields in tests.items():
        others = {key: value for key, value in calibration.items() if key != laboratory}
        chosen = {"all": everything, "others": fit_intervals(names, scores, others)}
        coverage = {key: cover(intervals, fields) for key, intervals in chosen.items()}
        truth = sum(field.marked(len(names)) for field in fields)
        counted = sum(everything.terms(field.found, field.area).counted for field in fields)
        for k, name in enumerate(names):
            if k in fields[0].incomplete:
                continue
            row = {"laboratory": laboratory, "class": name, "fields": len(fields)}
            row |= {"marked": int(truth[k]), "counted": int(counted[k])}
            rows.append(row | {key: of_classes[k] for key, of_classes in coverage.items()})
    return rows


def count_side_by_side(
    counter: CellCounter, calibration: Mapping[str, Sequence[MarkedField]]
) -> dict[str, list[dict]]:
    """Intervals of large fields: 4 and 16 test images of a laboratory side by side.

    Args:
        counter: counts.
        calibration: fields of each laboratory to choose intervals on.

    Returns:
        for each laboratory a list of dicts: ``fields``, ``marked`` and ``interval`` by class.
    """
    names, report = counter.class_names, {}
    intervals = fit_intervals(names, list(counter.thresholds.values()), calibration)
    for laboratory, dataset in LABORATORIES.items():
        records, report[laboratory] = load_records(f"{dataset}_test", names), []
        size = Counter((r["height"], r["width"]) for r in records).most_common(1)[0][0]
        records = [r for r in records if (r["height"], r["width"]) == size]
        for side in (2, 4):
            part = records[: side**2]
            image = stitch([read_bgr(r["file_name"]) for r in part], side)
            found, diameter = counter.find_all(image)
            bounds = intervals(found, image.shape[0] * image.shape[1] / diameter**2)
            marked = marked_cells(part, len(names)).sum(axis=0).tolist()
            row = {"fields": side**2, "marked": dict(zip(names, marked, strict=True))}
            row |= {"interval": dict(zip(names, bounds, strict=True))}
            report[laboratory].append(row)
    return report


def cover(intervals: CountIntervals, fields: Sequence[MarkedField]) -> list[dict]:
    """How often intervals hold what is marked, of single fields and of their sums, by class."""
    terms = [intervals.terms(field.found, field.area) for field in fields]
    truth = np.array([field.marked(len(intervals.width)) for field in fields])
    held, width = _held(intervals, terms, truth)
    rows = [
        {"coverage": round(float(c), 3), "width": round(float(w), 2), "sums": {}}
        for c, w in zip(held, width, strict=True)
    ]
    rng = np.random.default_rng(0)
    for size in SUMS:
        drawn = [rng.integers(len(fields), size=size) for _ in range(_DRAWS)]
        sums = [sum((terms[i] for i in d[1:]), terms[d[0]]) for d in drawn]
        held, width = _held(intervals, sums, np.array([truth[d].sum(axis=0) for d in drawn]))
        for row, c, w in zip(rows, held, width, strict=True):
            row["sums"][str(size)] = {"coverage": round(float(c), 3), "width": round(float(w), 1)}
    return rows


def _held(intervals, terms, truth):
    """Share of the fields whose intervals hold the truth, and their mean width, by class."""
    low, high = np.array([intervals.bounds(each) for each in terms]).transpose(1, 0, 2)
    return ((truth >= low) & (truth <= high)).mean(axis=0), (high - low).mean(axis=0)


def coverage_table(runs: Sequence[dict]) -> str:
    """Markdown: a row for each model, laboratory and class."""
    lines = [
        "| model | laboratory | class | marked | counted | covered | mean width | sums of 16 | "
        "without this laboratory | sums of 16 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        for row in run["coverage"]:
            own, others = row["all"], row["others"]
            cells = [f"`{run['model']}`", f"{row['laboratory']}, {row['fields']}", row["class"]]
            cells += [str(row["marked"]), str(row["counted"])]
            cells += [f"{own['coverage']:.0%}", f"{own['width']:.1f}"]
            cells += [f"{own['sums']['16']['coverage']:.0%}", f"{others['coverage']:.0%}"]
            lines.append(f"| {' | '.join([*cells, _percent(others['sums']['16'])])} |")
    return "\n".join(lines)


def side_by_side_table(runs: Sequence[dict]) -> str:
    """Markdown: a row for each model, laboratory and number of fields."""
    lines = ["| model | laboratory | fields | marked, 95% interval |", "|---|---|---|---|"]
    for run in runs:
        for laboratory, rows in run["side_by_side"].items():
            for row in rows:
                found = [
                    f"{name} {row['marked'][name]}, {low} to {high}"
                    for name, (low, high) in row["interval"].items()
                ]
                cells = [f"`{run['model']}`", laboratory, str(row["fields"]), "; ".join(found)]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _percent(entry):
    return f"{entry['coverage']:.0%}"
