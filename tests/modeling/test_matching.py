"""One-to-one matching against brute force over all assignments."""

import itertools
import math

import numpy as np
import torch
from fvcore.nn import sigmoid_focal_loss
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bccd.modeling.matching import focal_class_cost, match_one_to_one


def best_total(cost):
    """Least total over all one-to-one assignments that pair as many as can be paired."""
    rows, columns = cost.shape
    if rows < columns:
        cost, rows, columns = cost.T, columns, rows
    return min(
        sum(cost[row, column] for column, row in enumerate(chosen))
        for chosen in itertools.permutations(range(rows), columns)
    )


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_total_cost_is_the_least_of_all_permutations(data):
    stages, images = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    proposals = data.draw(st.integers(1, 5))
    counts = data.draw(st.lists(st.integers(0, 5), min_size=images, max_size=images))
    cost = data.draw(
        arrays(
            np.float32,
            (stages, images, proposals, max(counts)),
            elements=st.floats(-100, 100, width=32),
        )
    )
    pairs = match_one_to_one(torch.from_numpy(cost), counts)
    assert pairs.shape == (4, stages * sum(min(proposals, count) for count in counts))
    for stage in range(stages):
        image_of, proposal_of, box_of = pairs[1:, pairs[0] == stage].numpy()
        for image, count in enumerate(counts):
            rows, columns = proposal_of[image_of == image], box_of[image_of == image]
            assert len(rows) == min(proposals, count)
            assert len(set(rows)) == len(set(columns)) == len(rows)
            matrix = cost[stage, image, :, :count].astype(np.float64)
            assert (columns < count).all()
            assert math.isclose(matrix[rows, columns].sum(), best_total(matrix), abs_tol=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_entries_that_are_not_finite_are_the_last_resort(data):
    shape = data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    finite = st.floats(-1e6, 1e6, width=32)
    broken = st.sampled_from([math.nan, math.inf, -math.inf])
    cost = data.draw(arrays(np.float32, shape, elements=st.one_of(finite, broken)))
    _, _, rows, columns = match_one_to_one(torch.from_numpy(cost)[None, None], [shape[1]])
    assert len(rows) == min(shape)
    is_broken = (~np.isfinite(cost)).astype(np.float64)
    assert is_broken[rows, columns].sum() == best_total(is_broken)


def test_a_proposal_with_nan_is_left_to_others():
    cost = torch.tensor([[math.nan, math.nan], [1.0, 9.0], [9.0, 1.0]])
    pairs = match_one_to_one(cost[None, None], [2])
    assert pairs[1:].T.tolist() == [[0, 1, 0], [0, 2, 1]]


def test_huge_finite_costs_beside_infinite_ones():
    cost = torch.tensor([[3e38, math.inf], [-3e38, 3e38]])
    pairs = match_one_to_one(cost[None, None], [2])
    assert pairs[2:].T.tolist() == [[0, 0], [1, 1]]


def test_no_ground_truth_anywhere():
    pairs = match_one_to_one(torch.zeros(2, 3, 4, 0), [0, 0, 0])
    assert pairs.shape == (4, 0) and pairs.dtype == torch.int64


def test_repeated_ground_truth_gets_as_many_predictions_as_there_are_for_every_box():
    # Boxes at 0 and 10; the first stage gives each three predictions, the second one.
    distance = torch.tensor([0.0, 1, 2, 10, 11, 12, 50])[:, None] - torch.tensor([0.0, 10])
    cost = distance.abs().expand(2, 1, 7, 2)
    stage, _, prediction, box = match_one_to_one(cost, [2], [3, 1])
    assert box[stage == 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert prediction[stage == 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert prediction[stage == 1].tolist() == [0, 3]
    # Five predictions suffice for two of each box, not three.
    *_, box = match_one_to_one(cost[:1, :, :5], [2], [3])
    assert sorted(box.tolist()) == [0, 0, 1, 1]
    *_, box = match_one_to_one(cost[:1, :, :1], [2], [3])
    assert len(box) == 1


def test_focal_cost_is_the_difference_of_two_focal_losses():
    logits = torch.linspace(-5, 5, 11)
    as_class, as_none = (
        sigmoid_focal_loss(logits, torch.full_like(logits, target), alpha=0.25, gamma=2.0)
        for target in (1.0, 0.0)
    )
    torch.testing.assert_close(focal_class_cost(logits), as_class - as_none, atol=1e-5, rtol=1e-5)
    assert torch.isfinite(focal_class_cost(torch.tensor([-1e4, 1e4]))).all()
