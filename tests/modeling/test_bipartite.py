import pytest
import torch
from detectron2.structures import Boxes, Instances, pairwise_iou

from bccd.modeling.assigners.bipartite import BipartiteMatcher
from bccd.modeling.assigners.labels import IGNORED, label_anchors


def brute_force(iou, threshold):
    """SSD's matching: the best pair, the best among the rest, ...; then every box by IoU."""
    truths, boxes = range(len(iou)), range(len(iou[0]))
    match = {}
    for _ in range(min(len(iou), len(iou[0]))):
        pairs = [(iou[t][b], t, b) for t in truths for b in boxes]
        pairs = [p for p in pairs if p[1] not in match.values() and p[2] not in match and p[0] > 0]
        if not pairs:
            break
        _, truth, box = max(pairs)
        match[box] = truth
    for b in boxes:
        best = max(truths, key=lambda t: iou[t][b])
        if b not in match and iou[best][b] >= threshold:
            match[b] = best
    return match


@pytest.mark.parametrize("seed", range(30))
def test_matching_against_brute_force(seed):
    generator = torch.Generator().manual_seed(seed)
    truths = int(torch.randint(1, 8, (), generator=generator))
    defaults = int(torch.randint(1, 40, (), generator=generator))
    # Crowded, so that ground truths compete for the same default box.
    centres = torch.rand(truths + defaults, 2, generator=generator) * 40
    sides = 5 + torch.rand(truths + defaults, 2, generator=generator) * 30
    boxes = Boxes(torch.cat([centres - sides / 2, centres + sides / 2], dim=1))
    iou = pairwise_iou(boxes[:truths], boxes[truths:])
    matches, labels = BipartiteMatcher(0.5)(iou)
    expected = brute_force(iou.tolist(), 0.5)
    assert labels.tolist() == [int(b in expected) for b in range(defaults)]
    assert {b: int(matches[b]) for b in expected} == expected


def test_every_ground_truth_gets_a_box_of_its_own():
    # Detectron2's low-quality matches alone would leave all default boxes to the first.
    defaults = Boxes(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 11]]))
    truths = Boxes(torch.tensor([[0.0, 0, 10, 10.4], [4, 4, 5, 5]]))
    matches, labels = BipartiteMatcher(0.5)(pairwise_iou(truths, defaults))
    assert labels.tolist() == [1, 1]
    assert sorted(matches.tolist()) == [0, 1]


def test_no_ground_truth_and_no_overlap():
    _, labels = BipartiteMatcher(0.5)(torch.zeros(0, 5))
    assert labels.tolist() == [0] * 5
    _, labels = BipartiteMatcher(0.5)(torch.zeros(2, 5))
    assert labels.tolist() == [0] * 5


def test_unmatched_anchors_that_overlap_are_ignored():
    anchors = Boxes(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 7], [0, 0, 10, 4.5], [0, 0, 10, 3]]))
    truths = Boxes(torch.tensor([[0.0, 0, 10, 10]]))
    iou = pairwise_iou(truths, anchors)
    assert BipartiteMatcher(0.9, ignore_threshold=0.4)(iou)[1].tolist() == [1, -1, -1, 0]
    assert BipartiteMatcher(0.9)(iou)[1].tolist() == [1, 0, 0, 0]
    # The anchor that a ground truth must get is matched, however little it overlaps.
    assert BipartiteMatcher(0.9, 0.4)(iou[:, 2:])[1].tolist() == [1, 0]


@pytest.mark.parametrize("copies", [1, 2, 3])
def test_repeated_anchors_are_matched_each_on_its_own(copies):
    anchor = torch.tensor([[0.0, 0, 10, 10]])
    anchors = Boxes(anchor.repeat(copies, 1))
    truths = Boxes(torch.tensor([[0.0, 0, 10, 4], [0, 6, 10, 10], [1, 1, 3, 3]]))
    matches, labels = BipartiteMatcher(0.5)(pairwise_iou(truths, anchors))
    # As many ground truths as there are anchors, those that overlap most.
    assert labels.tolist() == [1] * copies
    assert sorted(matches.tolist())[:2] == [0, 1][:copies]
    assert len(set(matches.tolist())) == copies


def test_labels_of_a_batch_name_class_box_and_what_is_ignored():
    anchors = Boxes(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 7], [30, 30, 40, 40]]))
    full, empty = Instances((50, 50)), Instances((50, 50))
    full.gt_boxes, full.gt_classes = Boxes(torch.tensor([[0.0, 0, 10, 10]])), torch.tensor([2])
    empty.gt_boxes, empty.gt_classes = Boxes(torch.zeros(0, 4)), torch.zeros(0, dtype=torch.int64)
    labels = label_anchors(BipartiteMatcher(0.9, 0.4), anchors, [full, empty], num_classes=3)
    assert labels.classes.tolist() == [[2, IGNORED, 3], [3, 3, 3]]
    assert labels.boxes[0, 0].tolist() == [0, 0, 10, 10] and not labels.boxes[0, 1:].any()
    torch.testing.assert_close(labels.overlap, torch.tensor([[1, 0.7, 0], [0, 0, 0]]))
