"""Non-maximum suppression of exported SSDs, on the largest images and batches."""

import numpy as np
import onnxruntime
import pytest
import torch
from detectron2.layers import batched_nms
from torch.export import Dim

from bccd.export import onnx_file
from bccd.export.detector import MAX_BATCH, MAX_SIDE, NO_DETECTION
from bccd.export.suppression import suppress

CLASSES, IOU, LEAST_SCORE = 3, 0.5, 0.1


class Suppression(torch.nn.Module):
    def forward(self, all_boxes, all_scores, all_classes):
        kept = suppress(all_boxes, all_scores, all_classes, CLASSES, IOU, LEAST_SCORE)
        return all_boxes, kept, all_classes


@pytest.fixture(scope="module", params=["eager", "onnx", "openvino"])
def run(request, tmp_path_factory):
    if request.param == "eager":
        return lambda *inputs: Suppression()(*inputs)[1]
    path = tmp_path_factory.mktemp("suppression") / "a.onnx"
    dynamic = {0: Dim("count", min=1, max=MAX_BATCH), 1: Dim("rows", min=2, max=4096)}
    onnx_file.write(
        torch.export.export(Suppression(), pairs(2), dynamic_shapes=[dynamic] * 3), path, {}
    )
    if request.param == "openvino":
        openvino = pytest.importorskip("openvino")
        model = openvino.compile_model(openvino.Core().read_model(path), "CPU")
        return lambda *inputs: torch.tensor(model([x.numpy() for x in inputs])["scores"])
    session = onnxruntime.InferenceSession(path)
    names = [x.name for x in session.get_inputs()]

    def run_onnx(*inputs):
        feed = {name: x.numpy() for name, x in zip(names, inputs, strict=True)}
        return torch.tensor(session.run(["scores"], feed)[0])

    return run_onnx


def pairs(count, side=24.0):
    """Boxes (N, C, 4), scores, classes: touching pairs in the far corner, IoU 0.498 or 0.502."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, 16)
    corner = MAX_SIDE - 100.0 * torch.arange(1, 17) + torch.rand(shape, generator=generator)
    iou = IOU + 0.002 * (2 * torch.randint(0, 2, shape, generator=generator) - 1)
    moved = corner + side * (1 - iou) / (1 + iou)
    first = torch.stack([corner, corner, corner + side, corner + side], dim=-1)
    second = torch.stack([moved, corner, moved + side, corner + side], dim=-1)
    classes = torch.randint(0, CLASSES, (count, 16), generator=generator)
    scores = torch.rand((count, 32), generator=generator)
    return torch.cat([first, second], dim=1), scores, torch.cat([classes, classes], dim=1)


def test_touching_boxes_of_the_last_image_are_kept_as_by_the_eager_model(run):
    boxes, scores, classes = pairs(MAX_BATCH)
    kept = run(boxes, scores, classes)
    for i in (0, 1, MAX_BATCH - 1):
        valid = (scores[i] > LEAST_SCORE).nonzero()[:, 0]
        best = valid[batched_nms(boxes[i, valid], scores[i, valid], classes[i, valid], IOU)]
        expected = torch.full_like(scores[i], NO_DETECTION)
        expected[best] = scores[i, best]
        assert 16 <= len(best) < len(valid)
        assert torch.equal(kept[i], expected)
        assert torch.equal(run(*(x[i : i + 1] for x in (boxes, scores, classes)))[0], expected)


def test_boxes_of_other_classes_and_images_are_left_alone(run):
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0]]).expand(2, CLASSES, 4).contiguous()
    scores = torch.tensor([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]])
    classes = torch.arange(CLASSES).expand(2, -1).contiguous()
    assert torch.equal(run(boxes, scores, classes), scores)
    assert (run(boxes, scores, classes * 0) > 0).tolist() == [[True, False, False]] * 2
    nothing = run(boxes, scores / 10, classes)
    np.testing.assert_array_equal(nothing, np.full((2, CLASSES), NO_DETECTION))
