import pytest
import torch
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes
from torch.export import Dim

from bccd.modeling.pooling import PyramidTable, RegionPooler

SCALES = (1 / 4, 1 / 8, 1 / 16)
SIZES = ((40, 56), (20, 28), (10, 14))  # of an image of 160 x 224


def make(requires_grad=True):
    """Feature maps, and boxes of all levels: inside, across the border, outside, without area."""
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 8, *size, generator=generator) for size in SIZES]
    centres = torch.rand(2, 60, 2, generator=generator) * torch.tensor([300.0, 220.0]) - 40
    sides = torch.rand(2, 60, 2, generator=generator) * 500 * torch.rand(2, 60, 1)
    boxes = torch.cat([centres - sides / 2, centres + sides / 2], dim=2)
    boxes[0, 0] = torch.tensor([10.0, 20, 10, 50])
    boxes[0, 1] = torch.tensor([-1e8, -1e8, 1e8, 1e8])
    boxes[0, 2] = torch.tensor([0.0, 0, 224, 160])
    return [x.requires_grad_(requires_grad) for x in maps], boxes


@pytest.mark.parametrize("ratio", [1, 2])
def test_the_lookup_is_roi_align_with_its_gradient(ratio):
    maps, boxes = make()
    plain = ROIPooler(7, SCALES, ratio, "ROIAlignV2")
    expected = plain(maps, [Boxes(x) for x in boxes]).flatten(2).transpose(1, 2)
    pooler = RegionPooler(7, SCALES, ratio, "ROIAlignV2")
    prepared = pooler.prepare(maps)
    assert isinstance(prepared, PyramidTable)
    regions = pooler(prepared, boxes.requires_grad_())
    torch.testing.assert_close(regions, expected, atol=1e-4, rtol=1e-4)
    direction = torch.randn(expected.shape)
    gradients = torch.autograd.grad(regions, maps, direction)
    for actual, gradient in zip(
        gradients, torch.autograd.grad(expected, maps, direction), strict=True
    ):
        torch.testing.assert_close(actual, gradient, atol=1e-3, rtol=1e-3)
    assert len({int(level) for level in plain_levels(plain, boxes)}) == len(SCALES)


def plain_levels(pooler, boxes):
    areas = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1).sqrt()
    levels = (pooler.canonical_level + torch.log2(areas / pooler.canonical_box_size + 1e-8)).floor()
    return levels.clamp(pooler.min_level, pooler.max_level).flatten()


@pytest.mark.parametrize(("kind", "ratio"), [("ROIAlign", 2), ("ROIAlignV2", 0)])
def test_otherwise_it_is_detectron2s_pooler(kind, ratio):
    maps, boxes = make(requires_grad=False)
    pooler = RegionPooler(7, SCALES, ratio, kind)
    boxes = boxes[:, 3:]  # with ratio 0 the largest box would take forever
    regions = pooler(pooler.prepare(maps), boxes)
    plain = ROIPooler(7, SCALES, ratio, kind)(maps, [Boxes(x) for x in boxes])
    assert torch.equal(regions, plain.flatten(2).transpose(1, 2))


def test_a_trace_holds_for_other_images():
    class Pool(torch.nn.Module):
        def forward(self, maps, boxes):
            return pooler(pooler.prepare(maps), boxes)

    pooler = RegionPooler(7, SCALES, 2, "ROIAlignV2")
    count, height, width = Dim("count"), Dim("height", min=2), Dim("width", min=2)
    shapes = [{0: count, 2: k * height, 3: k * width} for k in (4, 2, 1)]
    maps, boxes = make(requires_grad=False)
    program = torch.export.export(
        Pool(), (maps, boxes), dynamic_shapes={"maps": shapes, "boxes": {0: count}}
    ).module()
    maps, boxes = [x[:1, :, : x.shape[2] // 2] for x in maps], boxes[:1]
    expected = pooler(pooler.prepare(maps), boxes)
    torch.testing.assert_close(program(maps, boxes), expected, atol=1e-5, rtol=1e-5)
