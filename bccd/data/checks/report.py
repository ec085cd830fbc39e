"""The report on a data set, for the screen and for programs."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bccd.data.checks.findings import (
    ABSENT,
    DUPLICATE,
    DUPLICATE_IOU,
    ERRORS,
    NEAR_DUPLICATE,
    NO_AREA,
    PAST_BORDER,
    SIMPLIFIED,
    SPELLINGS,
    WARNINGS,
    count_labels,
    find_problems,
)
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.formats.registry import FORMATS

_MEANING = {
    NO_AREA: "dropped on reading, with a warning",
    PAST_BORDER: "clipped on reading",
    DUPLICATE: f"one class, IoU above {DUPLICATE_IOU}; kept",
    NEAR_DUPLICATE: "kept",
    SPELLINGS: "read as one",
    ABSENT: "passed over",
    SIMPLIFIED: "see docs/exchange.md",
}


def make_report(dataset: AnnotatedDataset, class_names: Sequence[str] | None = None) -> dict:
    """Check a data set and sum it up.

    Args:
        dataset: as it is on disk.
        class_names: the only classes that boxes may have; None: any.

    Returns:
        dict that JSON can hold: ``root``, ``format``, ``classes``, ``images``, ``labels`` (boxes by
        class as annotated), ``splits`` (images and labels of each), ``usable`` (False where a
        reader would stop) and ``problems``, each with ``kind``, ``file``, ``line``, ``message``.
    """
    problems = find_problems(dataset, class_names)
    splits = {}
    for split, names in dataset.splits.items():
        images = [dataset.images[name] for name in names if name in dataset.images]
        splits[split] = {"images": len(images), "labels": dict(count_labels(images))}
    return {
        "root": str(dataset.root),
        "format": dataset.format,
        "classes": list(dataset.class_names),
        "images": len(dataset.images) + len(dataset.unannotated),
        "labels": dict(count_labels(dataset.images.values())),
        "splits": splits,
        "usable": not any(problem.kind in ERRORS for problem in problems),
        "problems": [asdict(problem) for problem in problems],
    }


def format_report(report: dict) -> str:
    """The report as text, every problem on a line of its own."""
    lines = [f"{report['root']}: {report['images']} images ({FORMATS[report['format']].title})"]
    lines.append(f"  {'labels as annotated':<22}{_format_labels(report['labels'])}")
    for name, split in report["splits"].items():
        lines.append(f"  {name:<16}{split['images']:>5} images: {_format_labels(split['labels'])}")
    counts = Counter(problem["kind"] for problem in report["problems"])
    for kind in WARNINGS + ERRORS:
        if counts[kind]:
            lines.append(f"{kind}: {counts[kind]} ({_MEANING.get(kind, 'reading stops here')})")
        for problem in report["problems"]:
            if problem["kind"] == kind:
                place = ":".join(str(part) for part in (problem["file"], problem["line"]) if part)
                lines.append(f"  {place}: {problem['message']}")
    if report["usable"]:
        lines.append("The data can be used.")
    else:
        lines.append("The data cannot be used before the files named above are corrected.")
    return "\n".join(lines)


def write_report(report: dict, path: Path) -> None:
    """Write the report as JSON."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _format_labels(labels):
    return ", ".join(f"{count} {name}" for name, count in sorted(labels.items())) or "none"
