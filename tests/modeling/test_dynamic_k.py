import pytest
import torch

from bccd.modeling.assigners.dynamic_k import assign_dynamic_k, sim_ota_costs
from bccd.modeling.assigners.neighbour_cells import find_neighbour_cells


def test_as_many_as_the_overlaps_sum_to_and_at_least_one():
    overlaps = torch.tensor([[0.9, 0.8, 0.7, 0.0], [0.1, 0.0, 0.0, 0.2]])
    costs = torch.tensor([[1.0, 3.0, 2.0, 9.0], [8.0, 7.0, 9.0, 5.0]])
    # 2.4 and 0.3: two and one.
    assert assign_dynamic_k(costs, overlaps, topk=10).tolist() == [0, 2, 0, 1]
    assert assign_dynamic_k(costs, overlaps, topk=1).tolist() == [0, 2, 2, 1]


def test_a_candidate_that_several_took_goes_where_it_is_cheapest():
    overlaps = torch.zeros(3, 2)
    costs = torch.tensor([[5.0, 6.0], [4.0, 6.0], [3.0, 1.0]])
    # The first two took candidate 0; the third, which did not, is the cheapest.
    assert assign_dynamic_k(costs, overlaps, topk=10).tolist() == [2, 2]
    assert assign_dynamic_k(torch.ones(2, 3), torch.zeros(2, 3), topk=10).tolist() == [0, 2, 2]


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_nothing_to_assign(shape):
    found = assign_dynamic_k(torch.zeros(shape), torch.zeros(shape), topk=10)
    assert found.tolist() == [shape[0]] * shape[1]
    boxes = torch.zeros(0, 4)
    costs, overlaps = sim_ota_costs(
        torch.zeros(shape[1], 4), torch.zeros(shape[1], 4), boxes, boxes[:, 0].long(), iou_weight=3
    )
    assert costs.shape == overlaps.shape == (0, shape[1])
    anchors, truths = find_neighbour_cells(
        boxes, torch.tensor([[8.0, 8.0]]), (4, 6), 8.0, max_ratio=4.0
    )
    assert len(anchors) == len(truths) == 0


def test_costs_stay_finite_where_scores_are_certain():
    logits = torch.tensor([[200.0, 200.0, -200.0], [-200.0, 0.0, 0.0]])
    box = torch.tensor([[0.0, 0.0, 8.0, 8.0]])
    costs, _ = sim_ota_costs(logits, box.repeat(2, 1), box, torch.tensor([0]), iou_weight=3.0)
    assert costs.isfinite().all() and costs[0, 0].abs() < 1e-6 < costs[0, 1]


def test_neighbours_are_inside_the_map_and_shapes_are_near():
    anchors = torch.tensor([[8.0, 8.0], [40.0, 8.0]])
    cells = {}
    for centre in ((2.0, 30.0), (46.0, 1.0), (21.0, 13.0), (24.0, 16.0), (20.0, 12.0)):
        box = torch.tensor([[centre[0] - 5, centre[1] - 5, centre[0] + 5, centre[1] + 5]])
        index, truth = find_neighbour_cells(box, anchors, (4, 6), 8.0, max_ratio=4.0)
        assert (not truth.any() and (index % 2 == 0).all()) or centre == ()
        cells[centre] = [divmod(i // 2, 6) for i in index.tolist() if i % 2 == 0]
    assert cells[2.0, 30.0] == [(3, 0)]  # at the left border, the lower one beyond
    assert cells[46.0, 1.0] == [(0, 5)]
    assert cells[21.0, 13.0] == [(1, 2), (1, 3), (2, 2)]
    # On the lines: the cells before, and its own once more for each direction.
    assert cells[24.0, 16.0] == [(2, 3), (2, 2), (1, 3), (2, 3), (2, 3)]
    assert cells[20.0, 12.0] == [(1, 2)]  # in the middle no neighbour is nearer
