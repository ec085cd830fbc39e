"""How far few fields move a threshold, and what their errors are."""

import numpy as np
import pytest

from bccd.experiments.calibration.errors import count_errors
from bccd.experiments.calibration.thresholds import (
    ScoredFields,
    choose_thresholds,
    choose_without_each,
    helps,
)

SHIPPED = np.array([0.5])


def make_fields(found, marked, groups=None):
    """Fields of one class: of each, how many score 0.9, 0.4 and 0.1; and how many are marked."""
    scores = [[np.repeat([0.9, 0.4, 0.1], numbers)] for numbers in found]
    groups = np.arange(len(found)) if groups is None else np.array(groups)
    return ScoredFields(scores, np.array(marked)[:, None], groups)


def test_what_all_fields_agree_on_is_corrected():
    fields = make_fields([(10, 4, 20)] * 10, [14] * 10)
    chosen = choose_thresholds(fields, SHIPPED)
    assert 0.1 < chosen[0] <= 0.4
    np.testing.assert_array_equal(fields.counted(chosen), fields.marked)


def test_a_difference_that_chance_explains_moves_nothing():
    marked = [15, 6, 14, 7, 16, 5, 13, 8, 17, 6]  # 107, where 100 are counted
    fields = make_fields([(10, 4, 20)] * 10, marked)
    np.testing.assert_array_equal(choose_thresholds(fields, SHIPPED), SHIPPED)


def test_between_the_two_a_part_of_the_difference_is_taken_away():
    marked = [10 + extra for extra in (8, 1, 6, 2, 7, 0, 5, 3, 8, 4)]
    above, below = np.linspace(0.9, 0.6, 10), np.linspace(0.45, 0.1, 9)
    scores = [[np.append(above, below) + 0.001 * i] for i in range(10)]
    fields = ScoredFields(scores, np.array(marked)[:, None], np.arange(10))
    counted = fields.counted(choose_thresholds(fields, SHIPPED)).sum()
    assert 100 < counted < fields.marked.sum()


def test_one_field_or_one_place_changes_nothing():
    for groups in ([0], [7, 7, 7]):
        fields = make_fields([(10, 4, 0)] * len(groups), [14] * len(groups), groups)
        np.testing.assert_array_equal(choose_thresholds(fields, SHIPPED), SHIPPED)
        np.testing.assert_array_equal(choose_without_each(fields, SHIPPED)[:, 0], 0.5)


def test_no_threshold_of_a_field_depends_on_the_field_or_on_its_group():
    groups = [0, 0, 1, 2, 3, 4, 5, 6]
    found, marked = [(10, 4, 20)] * 8, np.full(8, 14)
    before = choose_without_each(make_fields(found, marked, groups), SHIPPED)
    other = [(3, 30, 1)] * 2 + found[2:]
    marked[:2] = 99
    after = choose_without_each(make_fields(other, marked, groups), SHIPPED)
    np.testing.assert_array_equal(after[:2], before[:2])
    assert (after[2:] != before[2:]).any()


def test_cells_that_are_not_there_raise_a_threshold_though_none_is_marked():
    fields = make_fields([(0, 0, 0)] * 10, [0] * 10)
    np.testing.assert_array_equal(choose_thresholds(fields, SHIPPED), SHIPPED)
    fields = make_fields([(1, 2, 3)] * 10, [0] * 10)
    assert choose_thresholds(fields, np.array([0.3]))[0] > 0.4
    assert choose_thresholds(fields, np.array([0.3]))[0] <= 0.9


def test_single_fields_and_their_sum_both_say_whether_it_helps():
    marked = np.array([[10, 10, 10], [10, 10, 10]])
    before = np.array([[8, 8, 10], [8, 12, 10]])
    after = np.array([[10, 8, 10], [9, 8, 10]])
    assert helps(before, after, marked).tolist() == [True, False, False]


def test_errors_of_counts():
    marked, before = np.array([[10], [10], [10]]), np.array([[8], [8], [11]])
    after = np.array([[9], [9], [12]])
    found = count_errors(["RBC"], marked, before, after, np.array([0, 0, 1]))["RBC"]
    assert found["marked"] == 30 and found["after"]["counted"] == 30
    assert found["before"]["error"] == pytest.approx(5 / 3)
    assert found["change"]["error"] == pytest.approx(-1 / 3)
    # The two groups may be drawn alone.
    assert found["change"]["interval"] == pytest.approx([-1, 1])
    assert found["before"]["interval"] == pytest.approx([1, 2])
