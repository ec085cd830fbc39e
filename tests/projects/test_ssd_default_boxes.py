import itertools
import math
from pathlib import Path

import pytest
import torch
from detectron2.structures import Boxes, pairwise_iou

from bccd.projects.ssd.default_boxes import DefaultBoxMatcher, SSDDefaultBoxes

CONFIGS = Path(__file__).parents[2] / "configs/SSD"
# The published models: (side, smallest scale, scale of conv4_3, map sides, steps, ratio counts)
PUBLISHED = {
    300: (20, 10, [38, 19, 10, 5, 3, 1], [8, 16, 32, 64, 100, 300], [1, 2, 2, 2, 1, 1]),
    512: (15, 7, [64, 32, 16, 8, 4, 2, 1], [8, 16, 32, 64, 128, 256, 512], [1, 2, 2, 2, 2, 1, 1]),
}


def naive_default_boxes(side):
    """Scales in per cent of the image as the released models take them, one box at a time."""
    smallest, first, maps, steps, ratio_counts = PUBLISHED[side]
    step = (90 - smallest) // (len(maps) - 2)
    scales = [first, *range(smallest, 91, step)]
    scales = [s * side / 100 for s in [*scales[: len(maps)], scales[len(maps) - 1] + step]]
    boxes = []
    for k, cells in enumerate(maps):
        for i, j in itertools.product(range(cells), repeat=2):
            sizes = [(scales[k], scales[k])]
            for ratio in (2, 3)[: ratio_counts[k]]:
                for a in (ratio, 1 / ratio):
                    sizes.append((scales[k] * math.sqrt(a), scales[k] / math.sqrt(a)))
            sizes.append((math.sqrt(scales[k] * scales[k + 1]),) * 2)
            cx, cy = (j + 0.5) * steps[k], (i + 0.5) * steps[k]
            boxes += [[cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2] for w, h in sizes]
    return torch.tensor(boxes)


@pytest.mark.parametrize(("side", "count"), [(300, 8732), (512, 24564)])
def test_configs_give_the_published_default_boxes(cfg, side, count):
    cfg.merge_from_file(str(CONFIGS / f"ssd{side}_vgg16_bccd.yaml"))
    anchors = cfg.MODEL.ANCHOR_GENERATOR
    _, _, maps, steps, _ = PUBLISHED[side]
    generator = SSDDefaultBoxes(
        sizes=anchors.SIZES,
        aspect_ratios=anchors.ASPECT_RATIOS,
        strides=steps,
        offset=anchors.OFFSET,
    )
    boxes = Boxes.cat(generator([torch.zeros(1, 1, s, s) for s in maps])).tensor
    assert boxes.shape == (count, 4)
    expected = naive_default_boxes(side)
    assert torch.allclose(sort_rows(boxes), sort_rows(expected), atol=1e-3)


def sort_rows(boxes):
    # On a grid of 1/8 pixel, so that rounding does not change the order.
    keys = (boxes * 8).round().long().tolist()
    return boxes[sorted(range(len(keys)), key=keys.__getitem__)]


def test_one_size_has_no_extra_square_and_three_are_refused():
    def make(sizes):
        return SSDDefaultBoxes(sizes=[sizes], aspect_ratios=[[1.0, 2.0]], strides=[8], offset=0.5)

    assert make([16]).num_anchors == [2]
    assert make([16, 36]).num_anchors == [3]
    (boxes,) = make([16, 36]).cell_anchors
    assert torch.allclose(boxes[-1], torch.tensor([-12.0, -12, 12, 12]))
    with pytest.raises(ValueError, match=r"SIZES.*\[1, 2, 3\]"):
        make([1, 2, 3])


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
    matches, labels = DefaultBoxMatcher(0.5)(iou)
    expected = brute_force(iou.tolist(), 0.5)
    assert labels.tolist() == [int(b in expected) for b in range(defaults)]
    assert {b: int(matches[b]) for b in expected} == expected


def test_every_ground_truth_gets_a_box_of_its_own():
    # Detectron2's low-quality matches alone would leave all default boxes to the first.
    defaults = Boxes(torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 11]]))
    truths = Boxes(torch.tensor([[0.0, 0, 10, 10.4], [4, 4, 5, 5]]))
    matches, labels = DefaultBoxMatcher(0.5)(pairwise_iou(truths, defaults))
    assert labels.tolist() == [1, 1]
    assert sorted(matches.tolist()) == [0, 1]


def test_no_ground_truth_and_no_overlap():
    _, labels = DefaultBoxMatcher(0.5)(torch.zeros(0, 5))
    assert labels.tolist() == [0] * 5
    _, labels = DefaultBoxMatcher(0.5)(torch.zeros(2, 5))
    assert labels.tolist() == [0] * 5
