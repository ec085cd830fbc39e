"""The steps from corrected fields to a calibrated model.

The output folder is the model: ``<name>.safetensors``, ``<name>.onnx``, ``config.yaml`` and the
card. ``calibration/`` in it has ``plan.json``, what was asked for, and, while it lasts, the
fine-tuning, which a second start goes on with.
"""

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from bccd.counting.load import ImagePredictor, ModelChoice, load_predictor, with_runtime
from bccd.experiments.calibration.choice import Chosen, choose
from bccd.experiments.calibration.corrected import (
    annotated_classes,
    corrected_fields,
    open_corrected,
)
from bccd.experiments.calibration.detected import detect_fields, scored, thresholds_of
from bccd.experiments.calibration.diameter import Diameter, laboratory_diameter
from bccd.experiments.calibration.errors import count_errors
from bccd.experiments.calibration.intervals import calibrated_intervals
from bccd.experiments.calibration.publish import Values, publish_checkpoint, publish_exported
from bccd.experiments.calibration.selection import LEAST_FIELDS, corrected_alone, too_few
from bccd.experiments.json_files import write_json
from bccd.experiments.plan_file import check_same_plan, digest_annotations

# Of the marked cells: a larger error speaks against the diameter, which is measured, not fitted.
_MUCH = 0.02

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    Attributes:
        data: corrected fields, see :func:`.corrected.open_corrected`.
        name: of the new model.
        images: folder that the names of images in a COCO file start from; None: found.
        all_fields: also use fields whose cells are exactly those that the model counts.
        fine_tune: try a fine-tuning, too, where that is possible.
        iterations: of it; None: the usual number.
        seed: of it.
    """

    data: str
    name: str
    images: str | None = None
    all_fields: bool = False
    fine_tune: bool = True
    iterations: int | None = None
    seed: int = 1


def calibrate(choice: ModelChoice, plan: Plan, output: Path, *, command: str) -> dict:
    """Choose what helps on corrected fields that are held back, and publish the model.

    Args:
        choice: the model.
        plan: what is asked for.
        output: folder, made if it is not there. What an earlier call left in it is gone on with.
        command: for the card.

    Returns:
        the card of the model.

    Raises:
        FileNotFoundError, ValueError: the fields, the model or what lies in ``output`` cannot be
            used.
        ImportError: a package that the model needs is not installed.
    """
    choice = with_runtime(choice)
    if Path(choice.model or "").suffix == ".pt2":
        raise ValueError(f"{choice.model} cannot be changed: calibrate the checkpoint or its .onnx")
    dataset = open_corrected(plan.data, plan.images)
    plan_file, card_file = output / "calibration/plan.json", output / f"{plan.name}.json"
    wanted = {
        **asdict(plan),
        "model": choice.model or choice.config_file or choice.shipped_name,
        "runtime": choice.runtime,
        "opts": [str(value) for value in choice.opts],
        "data_sha256": digest_annotations(dataset.images),
    }
    if plan_file.is_file():
        check_same_plan(wanted, plan_file)
        if card_file.is_file():
            return json.loads(card_file.read_text(encoding="utf-8"))
    predictor = load_predictor(choice)
    session = _Session(choice, plan, predictor, dataset, output / "calibration")
    plan_file.parent.mkdir(parents=True, exist_ok=True)
    write_json(plan_file, wanted)
    return session.run(output, {"model": wanted["model"], "command": command})


class _Session:
    """One calibration: the fields, and what the model finds in them."""

    def __init__(self, choice, plan, predictor, dataset, folder):
        self._choice, self._plan, self._predictor = choice, plan, predictor
        self._names, self._folder = tuple(predictor.class_names), folder
        fields, self._left_out = corrected_fields(dataset, self._names)
        self._annotated = annotated_classes(dataset, self._names)
        self._shipped = thresholds_of(predictor)
        logger.info(f"Detecting in {len(fields)} fields")
        found = detect_fields(predictor, self._shipped, fields)
        self._fields, self._found, self._unchanged = corrected_alone(
            fields, found, self._shipped, all_fields=plan.all_fields
        )
        groups = {field.group for field in self._fields}
        if len(groups) < LEAST_FIELDS:
            raise ValueError(too_few(plan.data, len(groups), self._unchanged, self._left_out))
        self._marked = scored(self._found, self._fields, len(self._names)).marked

    def run(self, output, about):
        """Choose and publish; returns the card."""
        before = self._choose(self._found)
        diameter, chosen = self._try_diameter(before)
        fine_tuning, tuned, chosen = self._try_fine_tuning(diameter, chosen)
        errors = self._errors(before.before, chosen.after)
        thresholds = {
            name: {"before": float(old), "after": float(new)}
            for name, old, new in zip(self._names, self._shipped, chosen.thresholds, strict=True)
        }
        counted = chosen.after.sum(axis=0)
        intervals = calibrated_intervals(
            self._predictor, self._fields, chosen.found, chosen.thresholds
        )
        calibration = {
            **about,
            "data": self._plan.data,
            "fields": len(self._fields),
            "unchanged": self._unchanged,
            "left_out": self._left_out,
            "thresholds": thresholds,
            "expected_diameter": diameter._asdict(),
            "errors": errors,
            "correct": {
                name: {"counted": int(counted[k]), "correct": int(chosen.correct[k])}
                for k, name in enumerate(self._names)
            },
            "fine_tuning": fine_tuning,
            "intervals": {key: getattr(intervals, key) for key in ("reason", "covered", "counts")},
        }
        scores = {name: score["after"] for name, score in thresholds.items()}
        at_magnification = self._predictor.magnification is not None
        values = Values(scores, diameter.expected, at_magnification, intervals.values)
        name = self._plan.name
        if self._choice.is_exported:
            card = publish_exported(self._choice, values, output, name, calibration)
        else:
            cfg = _cfg_of(self._choice)
            card = publish_checkpoint(self._choice, cfg, values, output, name, calibration, tuned)
        shutil.rmtree(self._folder / "fine_tuning", ignore_errors=True)
        return card

    def _choose(self, found):
        return choose(found, self._fields, self._shipped, self._annotated)

    def _try_diameter(self, before: Chosen) -> tuple[Diameter, Chosen]:
        """The expected diameter, where counting with it is not worse."""
        magnification = self._predictor.magnification
        diameter = laboratory_diameter(self._fields, magnification)
        if diameter.expected is None:
            return diameter, before
        logger.info("Detecting again, at the diameter of red cells that was marked")
        with _expecting(self._predictor, diameter.expected):
            found = detect_fields(self._predictor, self._shipped, self._fields)
        after = self._choose(found)
        # An error is one in a field and one in the sum of all.
        if after.error(self._marked) > before.error(self._marked) + 2 * _MUCH * self._marked.sum():
            reason = (
                f"Red cells are of {diameter.expected:.0f} pixels, but counts of the fields are "
                "worse where the model looks for that size first: it measures as before."
            )
            return Diameter(None, reason), before
        return diameter, after

    def _try_fine_tuning(self, diameter, chosen):
        """What the card says of it, the checkpoint or None, and the thresholds to use."""
        if reason := self._why_no_fine_tuning():
            return {"kept": False, "reason": reason}, None, chosen
        from bccd.experiments.calibration import fine_tuning

        cfg = _cfg_of(self._choice).clone()
        cfg.defrost()
        if diameter.expected is not None:
            cfg.COUNTING.EXPECTED_DIAMETER = diameter.expected
        iterations = self._plan.iterations or fine_tuning.ITERATIONS
        training = {"iterations": iterations, "seed": self._plan.seed}
        folder, magnification = self._folder / "fine_tuning", self._predictor.magnification
        logger.info(
            f"Fine-tuning {fine_tuning.FOLDS} times on a part of the fields, {iterations} "
            "iterations each"
        )
        found = fine_tuning.detect_held_back(
            cfg, magnification, self._shipped, self._fields, folder, **training
        )
        after = self._choose(found)
        precision = [
            fine_tuning.average_precision(each, self._fields, self._names)
            for each in (chosen.found, found)
        ]
        about = {
            **{
                key: dict(zip(("before", "after"), (p[key] for p in precision), strict=True))
                for key in ("AP", "AP50")
            },
            "errors": self._errors(chosen.after, after.after),
            "iterations": iterations,
            "seed": self._plan.seed,
        }
        better = (precision[1]["AP"] or 0) > (precision[0]["AP"] or 0)
        if not better or after.error(self._marked) > chosen.error(self._marked):
            reason = "A fine-tuning was tried and is not kept: on fields that it had not seen, " + (
                "the counts are worse." if better else "AP is not higher."
            )
            return {**about, "kept": False, "reason": reason}, None, chosen
        logger.info("Fine-tuning on all fields")
        tuned = fine_tuning.fine_tune(cfg, magnification, self._fields, folder / "all", **training)
        reason = (
            "A fine-tuning is kept: on fields that it had not seen, AP is higher and the counts "
            "are not worse. The model was then trained on all fields, and not measured again."
        )
        return {**about, "kept": True, "reason": reason}, Path(tuned.MODEL.WEIGHTS), after

    def _why_no_fine_tuning(self):
        if not self._plan.fine_tune:
            return "No fine-tuning was tried, as was asked for."
        if self._choice.is_exported:
            return "An exported model cannot be trained: only thresholds and diameter are chosen."
        if self._predictor.magnification is None:
            return "No fine-tuning was tried: the model does not know its magnification."
        if not self._annotated.all():
            return "No fine-tuning was tried: not every class of the model is annotated."
        from bccd.experiments.calibration.fine_tuning import LEAST_GROUPS

        if len({field.group for field in self._fields}) < LEAST_GROUPS:
            return f"No fine-tuning was tried: it needs {LEAST_GROUPS} different fields."
        return None

    def _errors(self, before, after):
        groups = np.array([field.group for field in self._fields])
        return count_errors(self._names, self._marked, before, after, groups)


@contextlib.contextmanager
def _expecting(predictor: ImagePredictor, diameter: float) -> Iterator[None]:
    """Lets a predictor expect a diameter of red cells, while this context is open."""
    before = predictor.magnification
    predictor.magnification = replace(before, expected=diameter)
    try:
        yield
    finally:
        predictor.magnification = before


def _cfg_of(choice):
    from bccd.counting.load import build_cfg
    from bccd.engine.checkpoint import with_checkpoint_classes

    return with_checkpoint_classes(build_cfg(choice))
