"""What a calibration brings: ten fields of a laboratory, measured on all its test images."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import mean

import numpy as np

from bccd.counting.load import ModelChoice, load_predictor
from bccd.data.formats.coco import to_coco
from bccd.data.records import load_records
from bccd.experiments.calibration.corrected import corrected_fields, open_corrected
from bccd.experiments.calibration.detected import above, detect_fields, scored, thresholds_of
from bccd.experiments.calibration.errors import count_errors
from bccd.experiments.calibration.run import Plan, calibrate


def write_laboratory(records: Sequence[dict], names: Sequence[str], file: Path) -> str:
    """Write records as the corrected fields of a laboratory; returns how the data set is named."""
    root = Path(records[0]["file_name"]).parent.resolve()
    records = [{**r, "file_name": str(Path(r["file_name"]).resolve())} for r in records]
    file.write_text(json.dumps(to_coco(records, names, root)))
    return f"coco:{file}:{root}"


def measure_calibration(
    choice: ModelChoice,
    dataset: str,
    folder: Path,
    *,
    count: int,
    draw: int,
    fine_tune: bool,
    iterations: int | None = None,
    tested: int | None = None,
) -> dict:
    """Calibrate on some fields of the training part, and count in the test part.

    Args:
        choice: the model.
        dataset: registered name without ``_train`` and ``_test``.
        folder: for the calibrated model; what an earlier call left there is gone on with.
        count: fields that are corrected.
        draw: seed by which they are drawn.
        fine_tune, iterations: see :class:`.run.Plan`.
        tested: images of the test part that are counted; None: all.

    Returns:
        dict for JSON: ``dataset``, ``fields``, ``draw``; ``thresholds``, ``expected_diameter`` and
        ``fine_tuning`` of the card; ``held_back``, the errors that the calibration printed; and
        ``test``, the errors on the test part by :func:`.count_errors`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = load_predictor(choice)
    names = tuple(before.class_names)
    records = load_records(f"{dataset}_train", names, need_boxes=True)
    corrected = Random(draw).sample(records, count)
    data = write_laboratory(corrected, names, folder / "corrected.json")
    # All fields: sets are marked by people, and a field may be just as the model counts it.
    plan = Plan(
        data, "laboratory", all_fields=True, fine_tune=fine_tune, iterations=iterations, seed=draw
    )
    card = calibrate(choice, plan, folder / "laboratory", command="tools/measure_calibration.py")
    after = load_predictor(replace(choice, model=str(folder / "laboratory"), config_file=None))
    records = load_records(f"{dataset}_test", names, need_boxes=True)[:tested]
    held_out = write_laboratory(records, names, folder / "test.json")
    fields, _ = corrected_fields(open_corrected(held_out, None), names)
    counts = []
    for predictor in (before, after):
        thresholds = thresholds_of(predictor)
        found = detect_fields(predictor, thresholds, fields)
        counted = [above(each, thresholds) for each in found]
        counts.append([np.bincount(each.classes, minlength=len(names)) for each in counted])
    marked = scored(found, fields, len(names)).marked
    groups = np.array([field.group for field in fields])
    calibration = card["calibration"]
    kept = ("thresholds", "expected_diameter", "fine_tuning")
    return {
        "dataset": dataset,
        "fields": count,
        "draw": draw,
        "test_fields": len(fields),
        **{key: calibration[key] for key in kept},
        "held_back": calibration["errors"],
        "test": count_errors(names, marked, *map(np.array, counts), groups),
    }


def calibration_table(runs: Sequence[dict]) -> str:
    """Markdown: a row for each model, laboratory and class, over the draws of fields."""
    lines = [
        "| model | laboratory, test fields | class | marked | counted before | after | error of a "
        "field before | after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model, dataset in dict.fromkeys((run["model"], run["dataset"]) for run in runs):
        same = [run for run in runs if (run["model"], run["dataset"]) == (model, dataset)]
        for name in same[0]["test"]:
            tests = [run["test"][name] for run in same]
            before = tests[0]["before"]
            after = [test["after"] for test in tests]
            cells = [
                f"`{model}`",
                f"`{dataset}`, {same[0]['test_fields']}",
                name,
                str(tests[0]["marked"]),
                str(before["counted"]),
                _range([each["counted"] for each in after], ".0f"),
                f"{before['error']:.2f}",
                _range([each["error"] for each in after], ".2f"),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def changes_table(runs: Sequence[dict]) -> str:
    """Markdown: a row for each calibration, what it changed."""
    lines = [
        "| model | laboratory | draw | red cells looked for first | thresholds | fine-tuning, AP "
        "on fields not seen |",
        "|---|---|---|---|---|---|",
    ]
    for run in runs:
        diameter = run["expected_diameter"]["expected"]
        changed = [
            f"{name} {score['before']:.2f} -> {score['after']:.2f}"
            for name, score in run["thresholds"].items()
            if score["before"] != score["after"]
        ]
        cells = [
            f"`{run['model']}`",
            f"`{run['dataset']}`",
            str(run["draw"]),
            f"{diameter:.0f} pixels" if diameter else "as before",
            ", ".join(changed) or "as before",
            _fine_tuning_cell(run["fine_tuning"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _fine_tuning_cell(found):
    if "AP" not in found:
        return "not tried"
    kept = "kept" if found["kept"] else "not kept"
    return f"{kept}: {found['AP']['before']:.1f} -> {found['AP']['after']:.1f}"


def _range(values, spec):
    low, high = min(values), max(values)
    text = f"{mean(values):{spec}}"
    return text if low == high else f"{text} ({low:{spec}} to {high:{spec}})"
