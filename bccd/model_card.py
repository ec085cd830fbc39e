"""What a shipped model's card says, for programs (a dict, written as JSON) and for people."""

import datetime
import json
from pathlib import Path

import yaml
from detectron2.config import CfgNode
from tabulate import tabulate

from bccd.config import get_bccd_cfg
from bccd.data import bccd_classes
from bccd.data.records import model_class_names
from bccd.model_zoo import PREFIX, sha256

INTENDED_USE = (
    "Research, teaching and software development: detecting and counting {cells} in images of "
    "stained blood smears. Not a diagnostic device."
)
LIMITS = (
    "Trained and measured on the images named here alone. Other stains and cameras were not "
    "measured: check by eye.",
    "Only the classes named here are told apart. A cell of another kind is missed, or taken for "
    "one of them.",
    "The intervals show the spread over these few images alone, not over laboratories.",
)
BCCD_CELLS = "red cells, white cells and platelets"
BCCD_LIMITS = (
    "Trained on BCCD: one stain, one camera, 640 x 480 pixels, red cells about 100 pixels wide. "
    "Counting measures the magnification of other images and adapts to it; with another stain, "
    "platelets above all are missed: check by eye.",
    "BCCD leaves many red cells without a label: with score thresholds chosen on its labels red "
    "cells are counted too low, and thresholds that count them all look too high on its labels.",
    "White cells are not told apart, and abnormal cells are not recognised.",
    LIMITS[-1],
)
# Trained on BCCD and fields of further laboratories.
SEVERAL_LIMITS = (
    "Trained on fields of the laboratories named here, with light, stain, focus and magnification "
    "changed beyond theirs. How well that carries over to a laboratory that was not among them is "
    "in docs/results.md: check the first fields of a new one by eye.",
    "Few platelets were marked outside of BCCD and PBC: with other stains they are missed first.",
    *BCCD_LIMITS[2:],
)
_METRICS = ("AP", "AP50", "AP75")


def config_to_ship(cfg: CfgNode, name: str) -> CfgNode:
    """``cfg`` without what concerns the machine and the run that trained the model.

    Args:
        cfg: of the training.
        name: of the shipped model.

    Returns:
        not frozen.
    """
    default, cfg = get_bccd_cfg(), cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = PREFIX + name
    cfg.MODEL.DEVICE = default.MODEL.DEVICE
    cfg.OUTPUT_DIR = default.OUTPUT_DIR
    cfg.DATASETS.IMPORT = ()
    cfg.TEST.EXPECTED_RESULTS = []  # of the training
    cfg.TEST.EXPECTED_RESULTS_DATASET = ""
    cfg.TEST.OPERATING_POINTS = ()  # those in the file count
    return cfg


def build_card(
    name: str,
    weights_file: Path,
    cfg: CfgNode,
    checkpoint: dict,
    evaluations: dict,
    *,
    command: str,
    commit: str,
    export: dict | None = None,
) -> dict:
    """The card of one model.

    Args:
        name: of the model.
        weights_file: its published weights.
        cfg: of the training.
        checkpoint: the training's, with ``operating_points`` and, if they were chosen
            elsewhere than on DATASETS.VAL, ``operating_points_dataset``.
        evaluations: data set -> content of its ``evaluation.json``, of ``weights_file``.
        command: that trained the model.
        commit: of the code that trained it.
        export: of the exported file, see ``bccd.export.shipped.write_export``.

    Returns:
        what JSON can hold.
    """
    iteration, class_names = checkpoint.get("iteration"), model_class_names(cfg)
    bccds_classes = class_names == bccd_classes.CLASS_NAMES
    cells = BCCD_CELLS if bccds_classes else ", ".join(class_names)
    limits = _limits(cfg.DATASETS.TRAIN) if bccds_classes else LIMITS
    return {
        "name": name,
        "file": f"{name}{Path(weights_file).suffix}",
        "bytes": Path(weights_file).stat().st_size,
        "sha256": sha256(weights_file),
        "export": export,
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "class_names": list(class_names),
        "intended_use": INTENDED_USE.format(cells=cells),
        "limits": list(limits),
        "training": {
            "command": command,
            "commit": commit,
            "seed": checkpoint.get("rng", {}).get("seed", cfg.SEED),
            "iterations": None if iteration is None else iteration + 1,
            "initial_weights": cfg.MODEL.WEIGHTS or None,
            "data": {key.lower(): list(cfg.DATASETS[key]) for key in ("TRAIN", "VAL", "TEST")},
        },
        "operating_points": checkpoint["operating_points"],
        "operating_points_chosen_on": checkpoint.get(
            "operating_points_dataset", (*cfg.DATASETS.VAL, None)[0]
        ),
        "metrics": evaluations,
        "config": yaml.safe_load(config_to_ship(cfg, name).dump()),
    }


def _limits(trained_on):
    of_bccd = [name.removeprefix("completed_").startswith("bccd_") for name in trained_on]
    if all(of_bccd):
        return BCCD_LIMITS
    return SEVERAL_LIMITS if any(of_bccd) else LIMITS


def write_card(card: dict, folder: str | Path) -> None:
    """Write a card as ``<name>.json`` and ``<name>.md`` into a folder."""
    path = Path(folder, f"{card['name']}.json")
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(to_markdown(card), encoding="utf-8")


def to_markdown(card: dict) -> str:
    """The card of :func:`build_card` as a Markdown page."""
    model = card["config"]["MODEL"]["WEIGHTS"].removeprefix(PREFIX)
    command = f"python demo.py --model {model} --input my_images/ --output counted/"
    sections = [
        f"# {card['name']}",
        card["intended_use"],
        f"```bash\n{command}\n```",
        _table(["", ""], _facts(card)),
        f"The whole config is in `{card['name']}.json`.",
        "## Accuracy of this file",
        "COCO metrics in percent, the mean absolute counting error in cells per image, and "
        "their 95% bootstrap intervals over the images.",
        _accuracy_table(card),
        "## Operating points",
        "A detection counts from this score on. Precision and recall are those on the "
        "images that the scores were chosen on.",
        _table(
            ["class", "score", "precision", "recall"],
            [[name, *_point_row(point)] for name, point in card["operating_points"].items()],
        ),
        *_counting_scores(card),
        "## Limits",
        "\n".join(f"- {limit}" for limit in card["limits"]),
    ]
    return "\n\n".join(sections) + "\n"


def _facts(card):
    training = card["training"]
    return [
        ["classes", ", ".join(card["class_names"])],
        ["file", f"`{card['file']}`, {card['bytes'] / 1e6:.1f} MB"],
        ["SHA-256", f"`{card['sha256']}`"],
        *_export_facts(card.get("export")),
        ["published", card["date"]],
        ["trained by", f"`{training['command']}`"],
        ["at commit", f"`{training['commit']}`"],
        ["seed", training["seed"]],
        ["iterations", training["iterations"] or "not recorded"],
        ["initial weights", training["initial_weights"] or "none: trained from scratch"],
        ["training images", ", ".join(training["data"]["train"])],
        ["checkpoint chosen on", ", ".join(training["data"]["val"])],
        ["score thresholds chosen on", card["operating_points_chosen_on"]],
        *_interval_facts(card["config"].get("COUNTING", {})),
    ]


def _accuracy_table(card):
    evaluations = card["metrics"].items()
    rows = [row for item in evaluations for row in _metric_rows(*item, card["class_names"])]
    return _table(["images", "class", *_METRICS, "counting error"], rows)


def _counting_scores(card):
    """COUNTING.THRESHOLDS, where there are some."""
    scores = card["config"]["COUNTING"]["THRESHOLDS"]
    if not scores:
        return []
    by_class = zip(card["class_names"], scores, strict=True)
    return [
        "`bccd count`, `demo.py` and `CellCounter` resize each image to the magnification of the "
        "training, and count from other scores on, with which as many cells count as are marked:",
        _table(["class", "score"], [[name, f"{score:.3f}"] for name, score in by_class]),
    ]


def _interval_facts(counting):
    datasets = counting.get("INTERVALS", {}).get("DATASETS")
    return [["95% intervals of counts chosen on", ", ".join(datasets)]] if datasets else []


def _export_facts(export):
    if export is None:
        return []
    return [
        ["exported", f"`{export['file']}`, {export['bytes'] / 1e6:.1f} MB"],
        ["SHA-256 of that", f"`{export['sha256']}`"],
    ]


def _metric_rows(dataset, evaluation, class_names):
    """A row for all classes together and one for each."""
    for suffix in ("", *(f"-{name}" for name in class_names)):
        yield [
            f"{dataset}, {evaluation['images']}",
            suffix[1:] or "all",
            *(_cell(evaluation, "bbox", metric + suffix, ".1f") for metric in _METRICS),
            _cell(evaluation, "count", f"MAE{suffix}", ".2f"),
        ]


def _cell(evaluation, task, metric, spec):
    value = evaluation[task].get(metric)
    if value is None:
        return "n/a"
    interval = evaluation["intervals"].get(task, {}).get(metric)
    return f"{value:{spec}}" + (
        f" [{interval[0]:{spec}}, {interval[1]:{spec}}]" if interval else ""
    )


def _point_row(point):
    shares = (point[key] for key in ("precision", "recall"))
    return [f"{point['threshold']:.3f}", *("n/a" if v is None else f"{v:.3f}" for v in shares)]


def _table(header, rows):
    return tabulate(rows, header, tablefmt="pipe", disable_numparse=True)
