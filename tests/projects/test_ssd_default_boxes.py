import itertools
import math
from pathlib import Path

import pytest
import torch
from detectron2.structures import Boxes

from bccd.projects.ssd.default_boxes import SSDDefaultBoxes

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
