"""The steps from annotated images to a published model, each of which is done once.

====================  ===================================================================
file in the output    step
====================  ===================================================================
``plan.json``         what was asked for, once it is prepared; later calls must ask for the same
``report.json``       check of the data
``data/``             split: a COCO file for each part, and ``split.json``
``training/``         training; OUTPUT_DIR of train_net.py
``model/``            thresholds, evaluation on the held-back part, publishing, export
====================  ===================================================================
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from detectron2.config import CfgNode
from detectron2.utils.logger import setup_logger

from bccd.atomic_files import write_atomically
from bccd.config import get_bccd_cfg, merge_yaml
from bccd.counting.load import ModelChoice
from bccd.data.checks.report import format_report, make_report, write_report
from bccd.data.formats.dataset import AnnotatedDataset
from bccd.data.sources.catalog import register_datasets
from bccd.data.sources.opening import open_dataset
from bccd.experiments.json_files import write_json
from bccd.experiments.own_data.config import fine_tuning_config
from bccd.experiments.own_data.counting_thresholds import choose_counting_thresholds
from bccd.experiments.own_data.parts import write_parts
from bccd.experiments.own_data.training import train
from bccd.experiments.plan_file import check_same_plan, digest_annotations
from bccd.export.publish import publish_to_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        data: the data set, as :func:`bccd.data.sources.opening.open_dataset` takes it.
        model: to start from: a shipped model, or a checkpoint with its config beside it.
        name: of the new model.
        iterations: of the training; None: by the number of images.
        seed: of split and training.
        by_folder: keep the images of a folder on one side of the split.
        opts: ``KEY VALUE`` list of config keys.
    """

    data: str
    model: str
    name: str
    iterations: int | None = None
    seed: int = 1
    by_folder: bool = False
    opts: Sequence[str] = ()


class DataError(ValueError):
    """The data has errors that a training stops at; the message is the whole report."""


def train_on(plan: Plan, output: Path, *, command: str, code: str, num_gpus: int = 1) -> dict:
    """Check, split, train, choose thresholds, evaluate and publish.

    A step that a former call has done is passed over, and a training goes on from its last
    checkpoint.

    Args:
        plan: what is asked for.
        output: folder, made if it is not there.
        command: for the card.
        code: what trained, for the card: a version or a commit.
        num_gpus: processes that train.

    Returns:
        the card of the model.

    Raises:
        DataError: the check found errors.
        OSError, ValueError: the data, an option or what lies in ``output`` cannot be used.
    """
    output.mkdir(parents=True, exist_ok=True)
    # With the arguments of engine.setup, which then adds no second handler for the same messages.
    setup_logger(str(output / "training"), distributed_rank=0, name="bccd")
    plan_file, config_file = output / "plan.json", output / "training.yaml"
    card = output / "model" / f"{plan.name}.json"
    with open_dataset(plan.data, archives=False) as dataset:
        wanted = {**asdict(plan), "data_sha256": digest_annotations(dataset.images)}
        if plan_file.is_file():
            check_same_plan(wanted, plan_file)
        else:
            text = _prepare(plan, dataset, output).dump().encode()
            write_atomically(config_file, lambda file: file.write(text))
            write_json(plan_file, wanted)
    if not card.is_file():
        logger.info("Step 3 of 4: train")
        train(config_file, output / "training", num_gpus)
        _publish(plan, config_file, output, command=command, commit=code)
    return json.loads(card.read_text(encoding="utf-8"))


def _prepare(plan: Plan, dataset: AnnotatedDataset, output: Path) -> CfgNode:
    """Check and split the data; returns the config of the training."""
    logger.info(f"Step 1 of 4: check {plan.data}")
    _check(dataset, output / "report.json")
    logger.info("Step 2 of 4: split")
    class_names = dataset.class_names
    parts, names = write_parts(
        dataset, class_names, output / "data", seed=plan.seed, by_folder=plan.by_folder
    )
    if ModelChoice(model=plan.model).shipped_name is None:
        logger.warning(
            f"Images that {plan.model} was trained on may be among those held back: the accuracy "
            "on the card is then too high. Lists of the parts beside the data keep them apart"
        )
    for part, images in parts.items():
        logger.info(f"  {part}: {len(images)} images")
    return fine_tuning_config(
        plan.model,
        names,
        class_names,
        [dataset.images[name] for name in parts["train"]],
        str(output / "training"),
        iterations=plan.iterations,
        seed=plan.seed,
        opts=plan.opts,
    )


def _check(dataset: AnnotatedDataset, path: Path) -> None:
    report = make_report(dataset)
    write_report(report, path)
    text = format_report(report)
    if not report["usable"]:
        raise DataError(text)
    if not report["labels"]:
        raise DataError(f"{text}\nIt has no box to learn from. Annotate cells.")
    logger.info(text)


def _publish(plan, config_file, output, **facts):
    logger.info("Step 4 of 4: evaluate on the held-back part and publish")
    cfg = get_bccd_cfg()
    merge_yaml(cfg, str(config_file))
    register_datasets(*cfg.DATASETS.TRAIN, *cfg.DATASETS.VAL, *cfg.DATASETS.TEST)
    best = output / "training/model_best.pth"
    checkpoint = best if best.is_file() else best.with_name("model_final.pth")
    folder = output / "model"
    publish_to_folder(cfg, checkpoint, folder, plan.name, choose_counting_thresholds, **facts)
