"""A page of Markdown tables from the numbers of ``error_analysis``."""

from tabulate import tabulate

from bccd.evaluation.error_analysis import (
    ALL_FALSE,
    CONFIRMED,
    HISTOGRAM_EDGES,
    NOT_FOUND,
    REPEATED,
    SHARES,
)
from bccd.evaluation.errors import CORRECT, FALSE_KINDS, MISSED

_MEANINGS = {
    "classification": "IoU >= {iou} with a box of another class",
    "localisation": "{background} <= IoU < {iou} with a box of its class",
    "both": "{background} <= IoU < {iou} with a box of another class alone",
    "duplicate": "IoU >= {iou} with a box of its class that a better score has taken",
    "background": "IoU < {background} with every box",
    MISSED: "annotated box that no detection is near enough to be about",
    ALL_FALSE: "every wrong detection",
    NOT_FOUND: "every annotated box without a correct detection",
    CONFIRMED: "wrong detections that are correct by the second annotation, where there is one",
}


def format_page(analysis: dict, title: str) -> str:
    """Format the page.

    Args:
        analysis: as ``analyse_errors`` returns it.
        title: of the page.
    """
    parts = [f"# {title}", _about(analysis)]
    for iou, part in analysis["by_iou"].items():
        parts += [f"## IoU {iou}", _gains(part, iou, analysis["background_iou"])]
        parts += ["Detections at their operating points:", _counts(part["counts"])]
        if part["second_annotation"]:
            images = analysis["images_with_second_annotation"]
            parts += [
                f"The wrong ones in the {images} images that have a second annotation: confirmed "
                "by it (correct by the same rule) of all. Confirmed background is an unlabelled "
                "cell; confirmed localisation is one, or one that the annotators box differently.",
                _second(part["second_annotation"]),
            ]
    parts += ["## Placement", "IoU of the correct detections (IoU >= 0.5) with their boxes:"]
    parts += [_placement(analysis["localisation"])]
    return "\n\n".join(parts) + "\n"


def _about(analysis):
    points = ", ".join(f"{k} {v:.3f}" for k, v in analysis["operating_points"].items())
    return (
        f"{analysis['images']} images. Kinds of errors after TIDE (arXiv 2008.08115). A gain is by "
        "how many percentage points AP rises when this kind alone is fixed; gains do not add up. "
        "AP takes detections of any score; detections are counted from their operating point on: "
        f"{points}."
    )


def _gains(part, iou, background):
    names = list(part["AP"])
    rows = [[f"**AP{100 * float(iou):.0f}**", "", *(_number(part["AP"][n]) for n in names)]]
    for kind, gain in part["gain"].items():
        meaning = _MEANINGS[kind].format(iou=iou, background=background)
        rows.append([kind, meaning, *(_number(gain[n], "+.1f") for n in names)])
    return _table(["gain when fixed", "what it is", *names], rows)


def _counts(counts):
    header = ["annotated", CORRECT, *FALSE_KINDS, REPEATED, NOT_FOUND, MISSED]
    rows = [[name, *(row[key] for key in header)] for name, row in counts.items()]
    return _table(["class", *header], rows)


def _second(answers):
    rows = []
    for name, row in answers.items():
        pairs = ((row[kind][CONFIRMED], sum(row[kind].values())) for kind in FALSE_KINDS)
        rows.append([name, *(f"{confirmed} of {total}" for confirmed, total in pairs)])
    return _table(["class", *FALSE_KINDS], rows)


def _placement(classes):
    shares = [f"share >= {share:g}" for share in SHARES]
    bins = [f"{edge:.2f}-" for edge in HISTOGRAM_EDGES[:-1]]
    rows = [
        [name, row["matched"], *(_number(row[key], ".2f") for key in ("median", *shares))]
        + row["histogram"]
        for name, row in classes.items()
    ]
    return _table(["class", "matched", "median", *shares, *bins], rows)


def _number(value, spec=".1f"):
    return "n/a" if value is None else f"{value:{spec}}"


def _table(header, rows):
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True)
