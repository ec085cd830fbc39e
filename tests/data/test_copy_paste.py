import numpy as np
import pytest
from detectron2.structures import BoxMode

from bccd.data.transforms.copy_paste import CopyPaste

HEIGHT, WIDTH = 120, 160
SMEAR, CELL = 200, 60


def _annotation(box, category):
    box = {"bbox": list(map(float, box)), "bbox_mode": BoxMode.XYXY_ABS}
    return {**box, "category_id": category, "iscrowd": 0}


def _field(*boxes, smear=SMEAR, category=1):
    """A field of view with a dark disc in each box, and its annotations."""
    image = np.full((HEIGHT, WIDTH, 3), smear, np.uint8)
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    for x0, y0, x1, y1 in boxes:
        radius = np.hypot((2 * x - x0 - x1) / (x1 - x0), (2 * y - y0 - y1) / (y1 - y0))
        image[radius <= 1] = CELL
    return image, [_annotation(box, category) for box in boxes]


def _copy_paste(donors, max_pastes=1):
    """Pastes from fields by name: {name: (image, annotations)}."""
    records = [
        {"file_name": name, "height": HEIGHT, "width": WIDTH, "annotations": annotations}
        for name, (_, annotations) in donors.items()
    ]
    read = lambda name: donors[name][0]  # noqa: E731
    return CopyPaste(records, read, classes=[1], max_pastes=max_pastes)


def test_a_pasted_cell_fills_its_box_and_the_rest_stays():
    paste = _copy_paste({"donor": _field((50, 40, 90, 70))})
    image, annotations = _field()
    before = image.copy()
    image.flags.writeable = False
    for seed in range(20):
        pasted, (annotation,) = paste(image, annotations, np.random.default_rng(seed))
        ys, xs = np.nonzero(pasted[..., 0] < (SMEAR + CELL) / 2)
        seen = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
        assert annotation["category_id"] == 1
        assert np.abs(np.array(annotation["bbox"]) - seen).max() <= 2
        x0, y0, x1, y1 = annotation["bbox"]
        assert min(x1 - x0, y1 - y0) >= 0.8 * 30 - 1 and max(x1 - x0, y1 - y0) <= 1.25 * 40 + 1
        changed = (pasted != before).any(axis=2).sum()
        assert changed < 1.3 * (x1 - x0) * (y1 - y0)
    assert annotations == [] and np.array_equal(image, before)


def test_turns_flips_and_places_vary():
    paste = _copy_paste({"donor": _field((50, 40, 90, 70))})
    image, _ = _field()
    boxes = [paste(image, [], np.random.default_rng(s))[1][0]["bbox"] for s in range(20)]
    upright = [y1 - y0 > x1 - x0 for x0, y0, x1, y1 in boxes]
    assert 0 < sum(upright) < 20 and len({tuple(box) for box in boxes}) == 20


def test_cells_are_covered_little_and_left_out_where_there_is_no_room():
    paste = _copy_paste({"donor": _field((50, 40, 80, 70))}, max_pastes=4)
    corners = [(x, y) for x in (0, 60, 120) for y in (0, 60)]
    cells = [(x, y, x + 40, y + 40) for x, y in corners]
    image, annotations = _field(*cells)
    counts = set()
    for seed in range(30):
        _, after = paste(image, annotations, np.random.default_rng(seed))
        assert after[: len(cells)] == annotations
        counts.add(len(after) - len(cells))
        boxes = np.array([annotation["bbox"] for annotation in after])
        for i, (x0, y0, x1, y1) in enumerate(boxes):
            for u0, v0, u1, v1 in boxes[:i]:
                common = max(min(x1, u1) - max(x0, u0), 0) * max(min(y1, v1) - max(y0, v0), 0)
                smaller = min((x1 - x0) * (y1 - y0), (u1 - u0) * (v1 - v0))
                assert common <= 0.2 * smaller + 1e-6
    assert max(counts) > 1
    full = [_annotation((0, 0, WIDTH, HEIGHT), 0)]
    assert paste(image, full, np.random.default_rng(0))[1] == full


def test_a_cell_takes_the_light_of_its_new_field():
    donor_image, donor_annotations = _field((50, 40, 90, 70), smear=240)
    paste = _copy_paste({"donor": (donor_image, donor_annotations)})
    image, _ = _field(smear=180)
    pasted, _ = paste(image, [], np.random.default_rng(0))
    assert abs(int(pasted.min()) - CELL * 180 / 240) <= 1
    assert pasted.max() <= 181  # no bright ring of the donor's smear


def test_only_whole_cells_of_the_classes_are_pasted():
    at_border, inside = (0, 30, 40, 60), (50, 40, 90, 70)
    image, annotations = _field(at_border, inside)
    annotations += [_annotation((10, 80, 50, 110), 0)]
    crowd = {**_annotation((100, 80, 130, 110), 1), "iscrowd": 1}
    paste = _copy_paste({"donor": (image, [*annotations, crowd])})
    assert [a["bbox"] for _, a in paste.donors[0]] == [list(inside)]


@pytest.mark.parametrize("box", [None, (0, 30, 40, 60)])
def test_nothing_to_paste_is_a_warning_and_changes_nothing(box, caplog):
    image, annotations = _field(*([box] if box else []))
    paste = _copy_paste({"donor": (image, annotations)})
    assert "whole cell of the classes [1]" in caplog.text
    pasted, kept = paste(image, annotations, np.random.default_rng(0))
    assert (pasted == image).all() and kept == annotations


@pytest.mark.parametrize("wrong", [{"classes": []}, {"max_pastes": 0}])
def test_pasting_nothing_on_purpose_is_an_error(wrong):
    with pytest.raises(ValueError, match=r"INPUT\.COPY_PASTE .*set ENABLED False"):
        CopyPaste([], None, **{"classes": [1], "max_pastes": 1, **wrong})
