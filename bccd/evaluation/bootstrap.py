"""95% percentile bootstrap intervals over images.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3. An image is the
unit that is resampled, since the cells of one image are not independent. Matching happens inside an
image, so a resampling only weighs the matches that are already there.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from bccd.evaluation.coco import RECALL_THRESHOLDS, ClassMatches
from bccd.evaluation.counts import Counts, summarise_counts

LEVEL = 0.95


def draw_weights(num_images: int, samples: int, seed: int = 0) -> np.ndarray:
    """How often each image is drawn in each resampling.

    Args:
        num_images: N.
        samples: S resamplings of N images with replacement.
        seed: the same seed gives the same weights.

    Returns:
        (S, N) float array whose rows sum to N.
    """
    rng = np.random.default_rng(seed)
    return rng.multinomial(num_images, np.full(num_images, 1 / num_images), samples).astype(float)


def bootstrap_ap(
    matches: Sequence[ClassMatches], weights: np.ndarray
) -> dict[str, tuple[float, float] | None]:
    """95% intervals of AP, AP50 and AP75, overall and per class.

    Args:
        matches: CocoResult.matches, K classes at COCO's ten IoU thresholds.
        weights: (S, N) from draw_weights.

    Returns:
        {"AP": (low, high), "AP-<class>": ...} as fractions. A resampling without ground truth of a
        class is left out of that class; None where none is left.
    """
    values = resample_ap(matches, weights)
    return {name: _interval(sample) for name, sample in values.items()}


def bootstrap_counts(counts: Counts, weights: np.ndarray) -> dict[str, tuple[float, float] | None]:
    """95% intervals of what ``summarise_counts`` returns, under the same names."""
    return {name: _interval(v) for name, v in summarise_counts(counts, weights).items()}


def bootstrap_differences(
    matches: Mapping[str, Sequence[ClassMatches]], weights: np.ndarray, metrics: Sequence[str]
) -> dict[str, dict[str, dict[str, dict]]]:
    """How much better each system is than each other one, on the same images.

    Both are measured on the same resamplings, so that images that are hard for all of them do not
    blur the difference.

    Args:
        matches: {system: CocoResult.matches}.
        weights: (S, N) from draw_weights.
        metrics: keys of :func:`resample_ap`.

    Returns:
        {metric: {one: {other: {"difference": of all images, "interval": (low, high), 95%}}}} as
        fractions; above 0 where ``one`` is better.

    Raises:
        ValueError: two systems were not measured against the same ground truth.
    """
    _check_same_truth(matches)
    ones = np.ones((1, weights.shape[1]))
    values = {
        name: resample_ap(found, np.concatenate([ones, weights])) for name, found in matches.items()
    }
    return {
        metric: {
            one: {
                other: _difference(values[one][metric] - values[other][metric])
                for other in matches
                if other != one
            }
            for one in matches
        }
        for metric in metrics
    }


def _check_same_truth(matches):
    truths = {name: [(m.name, *m.positives) for m in found] for name, found in matches.items()}
    first = next(iter(truths), None)
    for name, truth in truths.items():
        if truth != truths[first]:
            raise ValueError(f"{first} and {name} were evaluated on different images or classes")


def _difference(values):
    """``values`` (1 + S,): of all images, then of the resamplings."""
    return {"difference": float(values[0]), "interval": _interval(values[1:])}


def resample_ap(matches: Sequence[ClassMatches], weights: np.ndarray) -> dict[str, np.ndarray]:
    """AP, AP50 and AP75 of each resampling, overall and per class.

    Args:
        matches: CocoResult.matches.
        weights: (S, N) from draw_weights; a row of ones gives COCO's own numbers.

    Returns:
        {name: (S,) array}, NaN where a resampling has no ground truth.
    """
    per_class = np.stack([_class_ap(m, weights) for m in matches])  # (K, S, T)
    has_truth = ~np.isnan(per_class)
    total = np.where(has_truth, per_class, 0).sum(axis=0)
    overall = np.where(has_truth.any(axis=0), total / np.maximum(has_truth.sum(axis=0), 1), np.nan)
    values = {}
    suffixes = ["", *(f"-{m.name}" for m in matches)]
    for suffix, ap in zip(suffixes, [overall, *per_class], strict=True):
        values["AP" + suffix] = ap.mean(axis=1)
        values["AP50" + suffix] = ap[:, 0]
        values["AP75" + suffix] = ap[:, 5]
    return values


def _class_ap(matches, weights):
    """AP of one class, (S, T)."""
    num_positives = weights @ matches.positives  # (S,)
    ap = [
        _average_precision(correct, wrong, matches.image, weights, num_positives)
        for correct, wrong in zip(matches.correct, matches.wrong, strict=True)
    ]
    return np.where(num_positives[:, None] > 0, np.stack(ap, axis=1), np.nan)


def _average_precision(correct, wrong, image, weights, num_positives):
    """AP at one IoU threshold, (S,), from D ranked detections.

    Precision peaks at correct detections, so it is computed only there (C of them): the weighted
    numbers of correct and wrong detections up to each are products with the (N, C) numbers per
    image.
    """
    at = np.flatnonzero(correct)
    num_samples, num_images = weights.shape
    if at.size == 0:
        return np.zeros(num_samples)
    segment = np.searchsorted(at, np.arange(len(correct)))  # the next correct detection
    true_positives = weights @ _running_counts(image[correct], segment[correct], num_images, at)
    before = wrong & (segment < len(at))
    false_positives = weights @ _running_counts(image[before], segment[before], num_images, at)
    precision = true_positives / (true_positives + false_positives + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = true_positives / np.maximum(num_positives, 1)[:, None]
    precision = np.pad(precision, ((0, 0), (0, 1)))  # 0 at a recall that is never reached
    reached = [np.searchsorted(row, RECALL_THRESHOLDS, side="left") for row in recall]
    return np.take_along_axis(precision, np.stack(reached), axis=1).mean(axis=1)


def _running_counts(image, segment, num_images, at):
    """(N, C) number of the given detections of each image up to each correct detection."""
    counts = np.zeros((num_images, len(at)))
    np.add.at(counts, (image, segment), 1)
    return np.cumsum(counts, axis=1)


def _interval(values):
    values = values[np.isfinite(values)]
    if values.size == 0:
        return None
    tail = 50 * (1 - LEVEL)
    return tuple(float(v) for v in np.percentile(values, [tail, 100 - tail]))
