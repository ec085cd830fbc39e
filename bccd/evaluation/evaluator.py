"""Detectron2's COCO evaluator with counts, operating points and confidence intervals."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from detectron2.evaluation import COCOEvaluator

from bccd.data.formats.coco import to_coco
from bccd.data.records import dataset_class_names, load_records
from bccd.detections import DEFAULT_THRESHOLD
from bccd.evaluation import report
from bccd.evaluation.bootstrap import bootstrap_ap, bootstrap_counts, draw_weights
from bccd.evaluation.coco import CocoResult, evaluate_boxes
from bccd.evaluation.counts import Counts, count_cells, summarise_counts
from bccd.evaluation.curves import confusion_matrix, precision_recall
from bccd.evaluation.operating_point import (
    choose_operating_points,
    measure_operating_points,
)
from bccd.evaluation.operating_point import thresholds as thresholds_of

CHOOSE = "choose"
_CLASS_METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")


@dataclass(frozen=True)
class Evaluation:
    """Everything that is measured on one set of detections.

    Attributes:
        coco: CocoResult, fractions.
        counts: Counts at the operating point.
        points: {class: {"threshold", "precision", "recall", "f1"}} on these images.
        curves: what ``precision_recall`` returns.
        confusion: what ``confusion_matrix`` returns.
        results: {"bbox": AP and AR in percent, "count": MAE and bias in cells per image, and the
            share of exact images}, overall and with "-<class>"; None is n/a.
        intervals: {"bbox": {name: (low, high)}, "count": ...}, 95%, empty without bootstrap.
    """

    coco: CocoResult
    counts: Counts
    points: dict
    curves: dict
    confusion: tuple
    results: dict
    intervals: dict


def evaluate_detections(
    coco_gt: dict,
    detections: list[dict],
    thresholds: dict[str, float],
    *,
    iou: float = 0.5,
    bootstrap_samples: int = 1000,
) -> Evaluation:
    """Evaluate COCO results.

    Args:
        coco_gt: COCO ground truth as a dict.
        detections: list of COCO results.
        thresholds: {class name: score threshold} for counts and confusion matrix.
        iou: the IoU from which a detection at the operating point counts as correct.
        bootstrap_samples: resamplings of the images; 0 gives no intervals.

    Returns:
        Evaluation.

    Raises:
        ValueError: see evaluate_boxes.
    """
    coco = evaluate_boxes(coco_gt, detections)
    counts = count_cells(coco_gt, detections, thresholds)
    intervals = {}
    if bootstrap_samples > 0:
        weights = draw_weights(len(counts.image_ids), bootstrap_samples)
        intervals = {
            "bbox": {k: _percent(v) for k, v in bootstrap_ap(coco.matches, weights).items()},
            "count": bootstrap_counts(counts, weights),
        }
    return Evaluation(
        coco=coco,
        counts=counts,
        points=measure_operating_points(coco_gt, detections, thresholds, iou),
        curves=precision_recall(coco),
        confusion=confusion_matrix(coco_gt, detections, thresholds, iou),
        results={
            "bbox": _box_results(coco),
            "count": {name: float(v[0]) for name, v in summarise_counts(counts).items()},
        },
        intervals=intervals,
    )


class BCCDEvaluator(COCOEvaluator):
    """Detectron2's COCOEvaluator with counts, operating points and confidence intervals.

    Collects predictions as its parent does, over all processes. The ground truth comes from
    DatasetCatalog, never from a JSON file that an earlier run left behind.

    ``evaluate()`` returns, on the main process, ``{"bbox": {"AP", "AP50", ..., "AP-RBC", ...},
    "count": {"MAE", "bias", "exact", "MAE-RBC", ...}}`` with units as in Evaluation; a metric that
    cannot be computed (n/a) is absent. Afterwards ``detections`` holds the COCO results, and
    ``chosen_points`` what ``choose_operating_points`` returned, if it was asked to choose.

    Args:
        dataset_name: a name in DatasetCatalog.
        output_dir: folder for the files of ``report.write_files``; None writes nothing.
        class_names: of the model, in its order; empty: those of the data set.
        class_colors: RGB, 0-255, of each, for pictures of the results; empty: the usual ones.
        operating_points: {class name: score threshold}; None takes 0.5 for each and says so;
            CHOOSE chooses the best for these images; use it for validation, never for a final
            number.
        bootstrap_samples: resamplings of the images for the 95% intervals; 0 for none.
        iou: the IoU from which a detection at the operating point counts as correct.
        distributed: gather the predictions of all processes on the main one.

    Raises:
        ValueError: a class has no operating point, or the data set has no image, no box or other
            classes: see load_records.
    """

    def __init__(
        self,
        dataset_name: str,
        output_dir: str | None = None,
        *,
        class_names: Sequence[str] = (),
        class_colors: Sequence = (),
        operating_points: dict[str, float] | str | None = None,
        bootstrap_samples: int = 1000,
        iou: float = 0.5,
        distributed: bool = True,
    ) -> None:
        # The parent's constructor would read, or convert the data set to, a JSON file and parse it
        # with pycocotools; these are the attributes its other methods use.
        self._logger = logging.getLogger(__name__)
        self._distributed = distributed
        self._output_dir = output_dir
        self._cpu_device = torch.device("cpu")
        self._predictions = []
        self._dataset_name = dataset_name
        self._bootstrap_samples = bootstrap_samples
        self._iou = iou
        self._class_colors = [list(color) for color in class_colors]
        records = load_records(dataset_name, class_names, need_boxes=True)
        class_names = class_names or dataset_class_names(dataset_name)
        self.coco_gt = to_coco(records, class_names)
        self.detections = []
        self.chosen_points = None
        if operating_points == CHOOSE:
            self._points_source, self._thresholds = "chosen on these images", None
        else:
            self._points_source = "default 0.5" if operating_points is None else "given"
            self._thresholds = _check_thresholds(operating_points, class_names)

    @property
    def output_dir(self) -> str | None:
        """Folder of the files; None where nothing is written."""
        return self._output_dir

    def _eval_predictions(self, predictions, img_ids=None):
        coco_gt = self.coco_gt if img_ids is None else _select_images(self.coco_gt, img_ids)
        self.detections = _to_detections(predictions, coco_gt)
        if self._thresholds is None:
            self.chosen_points = choose_operating_points(coco_gt, self.detections, self._iou)
        if self._points_source == "default 0.5":
            self._logger.warning(
                f"No operating points are known: cells are counted from a score of "
                f"{DEFAULT_THRESHOLD} on. Train with DATASETS.VAL, or set TEST.OPERATING_POINTS."
            )
        evaluation = evaluate_detections(
            coco_gt,
            self.detections,
            self._thresholds or thresholds_of(self.chosen_points),
            iou=self._iou,
            bootstrap_samples=self._bootstrap_samples,
        )
        self._warn_of_cap(evaluation.coco)
        self._logger.info(
            f"Evaluation of {self._dataset_name}:\n{report.format_tables(evaluation)}"
        )
        if self._output_dir:
            settings = {
                "dataset": self._dataset_name,
                "images": len(coco_gt["images"]),
                "detections": len(self.detections),
                "operating_points_source": self._points_source,
                "operating_points_iou": self._iou,
                "bootstrap_samples": self._bootstrap_samples,
            }
            if self._class_colors:
                settings["class_colors"] = self._class_colors
            report.write_files(self._output_dir, evaluation, self.detections, coco_gt, settings)
            self._logger.info(f"Results are in {self._output_dir}")
        for task, metrics in evaluation.results.items():
            self._results[task] = {k: v for k, v in metrics.items() if v is not None}

    def _warn_of_cap(self, coco):
        cap = coco.max_dets[-1]
        for matches in coco.matches:
            if matches.positives.max() > cap:
                self._logger.warning(
                    f"An image has {matches.positives.max()} {matches.name}, but COCO's AP looks "
                    f"at the {cap} best detections per image and class: AP and AR cannot reach 100."
                    " Counts have no such limit."
                )


def _check_thresholds(operating_points, names):
    if operating_points is None:
        return dict.fromkeys(names, DEFAULT_THRESHOLD)
    missing = [name for name in names if name not in operating_points]
    if missing:
        raise ValueError(
            f"No operating point for {', '.join(missing)}: expected a score threshold for each of "
            f"{', '.join(names)}, got {operating_points}"
        )
    return {name: float(operating_points[name]) for name in names}


def _to_detections(predictions, coco_gt):
    """COCO results with the category ids of the ground truth, from the contiguous class ids."""
    images = {image["id"] for image in coco_gt["images"]}
    category_ids = sorted(category["id"] for category in coco_gt["categories"])
    instances = itertools.chain.from_iterable(
        p["instances"] for p in predictions if p["image_id"] in images
    )
    return [{**i, "category_id": category_ids[i["category_id"]]} for i in instances]


def _select_images(coco_gt, image_ids):
    keep = set(image_ids)
    return {
        **coco_gt,
        "images": [image for image in coco_gt["images"] if image["id"] in keep],
        "annotations": [a for a in coco_gt["annotations"] if a["image_id"] in keep],
    }


def _box_results(coco):
    results = {name: _percent(value) for name, value in coco.metrics.items()}
    for metric in _CLASS_METRICS:
        for name, metrics in coco.per_class.items():
            results[f"{metric}-{name}"] = _percent(metrics[metric])
    return results


def _percent(value):
    """A fraction, an interval of fractions, or None, in percent."""
    if value is None:
        return None
    return tuple(100 * v for v in value) if isinstance(value, tuple) else 100 * value
