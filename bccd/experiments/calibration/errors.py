"""Counting errors of few fields, with intervals over the fields."""

from collections.abc import Sequence

import numpy as np

SAMPLES = 2000  # resamplings
LEVEL = 0.95


def count_errors(
    names: Sequence[str],
    marked: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    groups: np.ndarray,
) -> dict[str, dict]:
    """Errors of counts before and after a change, by class.

    The intervals are of the percentile bootstrap (Efron and Tibshirani, 1993, section 13.3), which
    resamples the groups of fields.

    Args:
        names: of the K classes.
        marked, before, after: (F, K) numbers of cells.
        groups: (F,) fields of one number are drawn together.

    Returns:
        {class name: {"marked", "before", "after", "change"}}: the number of marked cells; of either
        count {"counted", "error", "interval"}, the number of cells, and the mean absolute error of
        a field; and {"error", "interval"} of the difference of the two errors.
    """
    weights = _draw(groups)
    errors = {"before": np.abs(before - marked), "after": np.abs(after - marked)}
    errors["change"] = errors["after"] - errors["before"]
    totals = {"before": before.sum(axis=0), "after": after.sum(axis=0)}
    found = {}
    for k, name in enumerate(names):
        found[name] = {"marked": int(marked[:, k].sum())}
        for key, of_fields in errors.items():
            sampled = weights @ of_fields[:, k]
            tail = (1 - LEVEL) / 2
            found[name][key] = {
                **({"counted": int(totals[key][k])} if key in totals else {}),
                "error": float(of_fields[:, k].mean()),
                "interval": np.quantile(sampled, [tail, 1 - tail]).tolist(),
            }
    return found


def _draw(groups):
    """(samples, F) shares of the fields in each resampling, by a fixed seed."""
    present, index = np.unique(groups, return_inverse=True)
    even = np.full(len(present), 1 / len(present))
    drawn = np.random.default_rng(0).multinomial(len(present), even, SAMPLES)[:, index]
    return drawn / drawn.sum(axis=1, keepdims=True)
