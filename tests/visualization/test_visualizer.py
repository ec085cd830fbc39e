from functools import partial

import cv2
import numpy as np
import pytest
import torch
from detectron2.data.catalog import Metadata
from detectron2.structures import Boxes, BoxMode, Instances, RotatedBoxes
from detectron2.utils.visualizer import ColorMode, VisImage, Visualizer

from bccd.data.bccd_classes import CLASS_NAMES
from bccd.visualization import drawing
from bccd.visualization.visualizer import CellVisualizer

IMAGE = np.random.default_rng(0).integers(100, 156, (240, 320, 3), dtype=np.uint8)
BOXES = np.array([[20.0, 30, 80, 90], [150, 50, 260, 160], [100, 200, 120, 215]])
CLASSES = [0, 1, 2]
BCCD = Metadata(thing_classes=list(CLASS_NAMES))
draw_detections = partial(drawing.draw_detections, class_names=CLASS_NAMES)
OWN = Metadata(thing_classes=["ring", "schizont", "gametocyte"], thing_colors=[(255, 0, 0)] * 3)


def instances():
    fields = {"pred_classes": torch.tensor(CLASSES), "scores": torch.tensor([0.9, 0.8, 0.7])}
    return Instances(IMAGE.shape[:2], pred_boxes=Boxes(torch.tensor(BOXES)), **fields)


def test_predictions_look_as_those_of_the_demo():
    output = CellVisualizer(IMAGE, BCCD, scale=4).draw_instance_predictions(instances())
    assert isinstance(output, VisImage)
    expected = draw_detections(IMAGE, BOXES, CLASSES, [0.9, 0.8, 0.7], legend=False)
    assert (output.get_image() == expected).all()


def test_a_data_set_looks_as_its_annotated_fields():
    box = {"bbox_mode": BoxMode.XYWH_ABS}
    annotations = [
        {**box, "bbox": [*b[:2], *(b[2:] - b[:2])], "category_id": k}
        for b, k in zip(BOXES, CLASSES, strict=True)
    ]
    visualizer = CellVisualizer(IMAGE, BCCD, scale=4)
    picture = visualizer.draw_dataset_dict({"annotations": annotations}).get_image()
    assert (picture == draw_detections(IMAGE, BOXES, CLASSES, legend=False)).all()


def test_names_and_colors_are_those_of_the_metadata():
    picture = CellVisualizer(IMAGE, OWN, 4).draw_instance_predictions(instances()).get_image()
    own = {"class_names": OWN.thing_classes, "colors": OWN.thing_colors}
    scores = [0.9, 0.8, 0.7]
    assert (picture == draw_detections(IMAGE, BOXES, CLASSES, scores, legend=False, **own)).all()


@pytest.mark.parametrize("scale", [0.5, 1, 1.3, 2])
def test_the_picture_has_the_size_of_detectron2s(scale):
    ours, theirs = (kind(IMAGE, OWN, scale).get_output() for kind in (CellVisualizer, Visualizer))
    assert ours.get_image().shape == theirs.get_image().shape
    assert ours.get_image().dtype == np.uint8
    assert (ours.width, ours.height, ours.scale) == (theirs.width, theirs.height, theirs.scale)


def test_a_saved_file_is_the_picture(tmp_path):
    output = CellVisualizer(IMAGE).draw_instance_predictions(instances())
    output.save(str(tmp_path / "a.png"))
    assert (cv2.imread(str(tmp_path / "a.png"))[:, :, ::-1] == output.get_image()).all()


def test_nothing_found_leaves_the_image():
    picture = CellVisualizer(IMAGE).draw_instance_predictions(instances()[:0]).get_image()
    assert (picture == IMAGE).all()


@pytest.mark.parametrize("mode", list(ColorMode))
def test_every_mode_draws_the_boxes(mode):
    visualizer = CellVisualizer(IMAGE, OWN, instance_mode=mode)
    picture = visualizer.draw_instance_predictions(instances()).get_image()
    changed = (picture != IMAGE).any(axis=-1)
    assert changed[40:80, 20].all()
    if mode is ColorMode.SEGMENTATION:
        assert not changed[70:150, 160:250].any()


def test_primitives_draw_where_they_are_told_to():
    visualizer = CellVisualizer(np.zeros((100, 100, 3), np.uint8), scale=2)
    visualizer.draw_polygon(np.array([[10, 10], [40, 10], [40, 40], [10, 40]]), "lime", alpha=1)
    visualizer.draw_circle((70, 20), "red", radius=10)
    visualizer.draw_line([10, 90], [60, 60], "blue")
    visualizer.draw_box((10, 70, 40, 90), edge_color="yellow")
    visualizer.draw_text("RBC", (75, 75), color="white")
    picture = visualizer.output.get_image()
    assert picture[50, 50].tolist() == [0, 255, 0]
    assert picture[40, 140].tolist() == [255, 0, 0]
    assert picture[120, 100, 2] > 200 and not picture[120, 100, :2].any()
    assert picture[160, 20].min() < 50 and picture[160, 20, :2].min() > 200
    written = picture[150:165, 120:180]
    assert written.max() > 200 and written[:, 20:40].min() < 50


def test_masks_keypoints_and_rotated_boxes_are_drawn_too():
    black = np.zeros((100, 100, 3), np.uint8)
    mask = np.zeros((100, 100), bool)
    mask[20:40, 20:40] = True
    visualizer = CellVisualizer(black)
    red = {"assigned_colors": ["red"]}
    visualizer.overlay_instances(boxes=[[10, 10, 50, 50]], labels=["a"], masks=[mask], **red)
    assert 100 < visualizer.output.get_image()[30, 30, 0] < 150
    assert visualizer.output.get_image()[30, 10, 0] > 200
    rotated = RotatedBoxes(torch.tensor([[70.0, 70, 40, 20, 45]]))
    visualizer.overlay_instances(boxes=rotated, labels=["b"], **red)
    assert visualizer.output.get_image()[50:, 50:].any()
    visualizer = CellVisualizer(black)
    visualizer.overlay_instances(keypoints=np.array([[[50.0, 50, 1]]]), boxes=[[0, 0, 9, 9]], **red)
    assert visualizer.output.get_image()[50, 50].any()


def test_what_it_cannot_draw_it_refuses():
    ring = np.zeros((100, 100), bool)
    ring[20:60, 20:60] = True
    ring[30:50, 30:50] = False
    with pytest.raises(NotImplementedError, match="Masks with holes"):
        CellVisualizer(np.zeros((100, 100, 3), np.uint8)).draw_binary_mask(ring)
    with pytest.raises(ValueError, match="uint8 array"):
        CellVisualizer(np.zeros((100, 100, 3), np.float32))
