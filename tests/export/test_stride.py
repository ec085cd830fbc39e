"""Exported detectors on a backbone that pads nothing: its size_divisibility is 0, its stride 32."""

import numpy as np
import pytest
import torch
from tiny_detectors import THRESHOLDS, small_smears, tiny_model

from bccd.data.synthetic import draw_smear
from bccd.export import package
from bccd.export.check import find_differences
from bccd.export.detector import exportable
from bccd.export.metadata import Metadata
from bccd.export.runtime import AotInductor, load
from bccd.export.save import export_detector

C5 = (
    *("MODEL.BACKBONE.NAME", "build_slim_resnet_backbone"),
    *("MODEL.RESNETS.OUT_FEATURES", ["res4", "res5"], "MODEL.SSD.IN_FEATURES", ["res4", "res5"]),
    *("MODEL.ANCHOR_GENERATOR.SIZES", [[24, 36], [56, 84]]),
    *("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", [[1.0], [1.0, 0.5, 2.0]]),
)
SIZES = ((33, 47), (64, 65), (101, 70))


@pytest.fixture(scope="module")
def tiny_c5():
    model, cfg = tiny_model("ssd", C5)
    assert model.backbone.size_divisibility == 0
    return model, cfg


def test_an_onnx_file_detects_as_the_eager_model_from_the_smallest_size_on(tiny_c5, tmp_path):
    export_detector(*tiny_c5, THRESHOLDS, tmp_path / "c5.onnx", small_smears()[:1])
    runtime, detector = load("onnx", tmp_path / "c5.onnx"), exportable(tiny_c5[0])
    assert detector.min_side == SIZES[0][0] == Metadata.from_strings(runtime.strings, "").min_side
    images = [draw_smear(seed, *size)[0] for seed, size in enumerate(SIZES)]
    assert find_differences(detector, runtime, images) == []


def test_a_package_is_traced_for_the_same_sizes(tiny_c5):
    detector = exportable(tiny_c5[0])
    program = package.trace(detector).module()

    def run(images):
        size = torch.tensor([images.shape[1:3]] * len(images))
        with torch.no_grad():
            return [x.numpy() for x in program(torch.from_numpy(images), size)]

    for seed, size in enumerate(SIZES):
        assert find_differences(detector, run, [draw_smear(seed, *size)[0]]) == []


@pytest.mark.parametrize(
    "multiple, least, size, padded",
    [
        (1, 33, (20, 50), (33, 50)),
        (32, 65, (20, 97), (96, 128)),
        (512, 512, (512, 512), (512, 512)),
    ],
)
def test_packages_get_images_of_their_smallest_size_or_more(multiple, least, size, padded):
    runtime = AotInductor.__new__(AotInductor)
    runtime._multiple, runtime._least = multiple, least
    runtime._model = lambda images, sizes: (images, sizes)
    images, sizes = runtime(np.ones((2, *size, 3), np.uint8))
    assert images.shape == (2, *padded, 3) and images.sum() == 2 * size[0] * size[1] * 3
    assert sizes.tolist() == [list(size)] * 2
