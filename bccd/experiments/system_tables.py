"""Tables of the systems side by side, from what tools/compare_systems.py and time_systems.py wrote.

Each function returns Markdown. What is not measured has no row, and an empty cell.
"""

import itertools
from collections.abc import Mapping, Sequence

from tabulate import tabulate

from bccd.evaluation.machine import machine_in_words
from bccd.experiments.system_comparison import FUSED
from bccd.experiments.systems import CROSS_VALIDATION

PAPER_TEST = "bccd_paper_test"
_RUNS = ("eager", "onnx", "int8")


def systems_table(
    accuracy: dict, costs: dict, quoted: Mapping[str, dict], devices: Mapping[str, str]
) -> str:
    """One row for each system: the paper's figures and ours, what it costs, and notes.

    Columns that are empty in every row are left out.

    Args:
        accuracy: content of ``accuracy.json``.
        costs: content of ``cost.json``, or {}.
        quoted: {row: the paper's row of ``results/references.json``}.
        devices: {row: "cpu" or "gpu", on which it was trained}.
    """
    sets, costs_of = accuracy["sets"], costs.get("systems", {})
    paper = _systems(sets, PAPER_TEST)
    pooled = _systems(sets, CROSS_VALIDATION)
    # The best first, over all images where that is known; the fusion of all last.
    names = sorted(
        dict.fromkeys([*paper, *pooled]),
        key=lambda name: (name == FUSED, -(pooled.get(name) or paper[name])["bbox"]["AP"]),
    )
    rows = [
        [
            *_summary(paper.get(name), pooled.get(name), costs_of.get(name, {}), quoted.get(name)),
            _minutes(paper.get(name), devices.get(name)),
        ]
        for name in names
    ]
    headers = (
        *("", "AP of the paper", "AP", "AP75 of the paper", "AP75", "AP50"),
        *("AP, 364 images", "ms: eager", "ONNX", "int8", "million parameters", "GFLOP", "minutes"),
    )
    table = _markdown(*_without_empty_columns(rows, headers))
    return "\n\n".join([table, *_notes(accuracy, costs)])


def _without_empty_columns(rows, headers):
    filled = [any(column) or not header for header, *column in zip(headers, *rows, strict=True)]
    return [list(itertools.compress(row, filled)) for row in rows], [
        *itertools.compress(headers, filled)
    ]


def _notes(accuracy, costs):
    """Sentences that say what the columns are."""
    sets = accuracy["sets"]
    notes = []
    if PAPER_TEST in sets:
        notes.append(
            f"AP, AP50, AP75: {sets[PAPER_TEST]['images']} images of {PAPER_TEST}, with 95% "
            "intervals; minutes: of the training steps."
        )
    if CROSS_VALIDATION in sets:
        notes.append(
            f"AP, {sets[CROSS_VALIDATION]['images']} images: cross-validation, of five models, "
            "each on the images that it was not trained on."
        )
    if costs:
        notes.append("Operations: of an image of 640 x 480 at test size; a multiply-add is two.")
    if "machine" in costs:
        notes.append(
            f"Milliseconds: an image of {costs['dataset']}, all forms in turn in one run; "
            f"{machine_in_words(costs['machine'])}, {costs['machine']['load_before']} cores busy "
            f"before, {costs['date']}: `{costs['command']}`."
        )
    return notes


def _summary(paper, pooled, cost, quoted):
    theirs = [_fraction(quoted[metric]) if quoted else "" for metric in ("AP", "AP75")]
    times = cost.get("milliseconds", {})
    return [
        (paper or pooled)["name"],
        *(theirs[0], _with_interval(paper, "AP")),
        *(theirs[1], _with_interval(paper, "AP75")),
        *(_value(paper, "AP50"), _with_interval(pooled, "AP")),
        *(f"{times[run]['median']:.1f}" if run in times else "" for run in _RUNS),
        f"{cost['parameters'] / 1e6:.2f}" if cost else "",
        f"{cost['gflop']:.2f}" if cost else "",
    ]


def _minutes(system, device):
    if not system or system.get("minutes") is None:
        return ""
    return f"{system['minutes']:.0f} ({device.upper()})"


def classes_table(accuracy: dict) -> str:
    """AP and AP75 of each class, and the counting error, on every set of images."""
    rows, classes = [], []
    for dataset, compared in accuracy["sets"].items():
        for system in compared["systems"].values():
            names = [key.removeprefix("AP-") for key in system["bbox"] if key.startswith("AP-")]
            classes = classes or names
            errors = system.get("count", {})
            rows.append(
                [
                    system["name"],
                    f"{compared['images']}, {dataset}",
                    *(
                        _with_interval(system, f"{metric}-{name}")
                        for name in names
                        for metric in ("AP", "AP75")
                    ),
                    ", ".join(f"{errors[f'MAE-{name}']:.2f}" for name in names) if errors else "",
                ]
            )
    headers = [f"{name}: {metric}" for name in classes for metric in ("AP", "AP75")]
    counting = f"counting error per image: {', '.join(classes)}"
    return _markdown(rows, ["", "test images", *headers, counting])


def differences_table(compared: dict, metric: str = "AP") -> str:
    """How many points the system of a row is better than that of a column, best system first.

    Args:
        compared: of :func:`.system_comparison.compare_systems`.
        metric: one of ``differences``.
    """
    systems, differences = compared["systems"], compared["differences"][metric]
    order = sorted(differences, key=lambda name: -systems[name]["bbox"][metric])
    rows = [
        [
            systems[one]["name"],
            *("" if one == other else _difference(differences[one][other]) for other in order),
        ]
        for one in order
    ]
    return _markdown(rows, [metric, *(systems[name]["name"] for name in order)])


def losses_table(losses: Mapping[str, dict]) -> str:
    """Each system with its own losses and with the paper's; ``losses`` of ``accuracy.json``."""
    rows = [
        [
            compared["systems"]["own"]["name"],
            *(
                cell
                for metric in ("AP", "AP75")
                for cell in (
                    _value(compared["systems"]["own"], metric),
                    _value(compared["systems"]["other"], metric),
                    _difference(compared["differences"][metric]["other"]["own"]),
                )
            ),
        ]
        for compared in losses.values()
    ]
    headers = [
        header
        for metric in ("AP", "AP75")
        for header in (f"{metric}, own losses", "the paper's", "points [95% interval]")
    ]
    return _markdown(rows, ["", *headers])


def costs_table(costs: dict, names: Mapping[str, str]) -> str:
    """AP on validation images and time of every form.

    Args:
        costs: content of ``cost.json``.
        names: {row: name in the tables}.
    """
    systems = costs["systems"]
    forms = list(next(iter(systems.values()))["AP"])
    rows = [
        [
            names[name],
            *(f"{cost['AP'][form]:.1f}" for form in forms),
            *(_quartiles(cost["milliseconds"][form]) for form in forms),
        ]
        for name, cost in systems.items()
    ]
    headers = [f"AP, {form}" for form in forms] + [f"ms, {form} (quartiles)" for form in forms]
    return _markdown(rows, ["", *headers])


def errors_table(errors: Mapping[str, dict], iou: str = "0.5") -> str:
    """Points of AP at one IoU that each system would gain without one kind of error."""
    kinds = list(next(iter(errors.values()))["by_iou"][iou]["gain"]) if errors else []
    rows = []
    for system in errors.values():
        found = system["by_iou"][iou]
        gains = (found["gain"][kind]["all"] for kind in kinds)
        # None: without that kind there is no cell left to find.
        points = ("n/a" if gain is None else f"{gain:+.1f}" for gain in gains)
        rows.append([system["name"], f"{found['AP']['all']:.1f}", *points])
    return _markdown(rows, ["", f"AP at IoU {iou}", *kinds])


def _systems(sets, dataset):
    return sets[dataset]["systems"] if dataset in sets else {}


def _quartiles(times):
    low, high = times["quartiles"]
    return f"{times['median']:.1f} ({low:.1f}-{high:.1f})"


def _difference(found):
    """Points, in bold where the interval does not hold 0."""
    low, high = found["interval"]
    text = f"{found['difference']:+.1f} [{low:+.1f}, {high:+.1f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def _with_interval(system, metric):
    value = _value(system, metric)
    interval = system and system["intervals"]["bbox"].get(metric)
    return f"{value} [{_fraction(interval[0])}, {_fraction(interval[1])}]" if interval else value


def _value(system, metric):
    return _fraction(system["bbox"][metric]) if system else ""


def _fraction(percent):
    return "n/a" if percent is None else f"{percent / 100:.3f}"


def _markdown(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers, tablefmt="pipe", disable_numparse=True)
