"""Every format holds classes, boxes and scores, or says what it does not."""

import shutil

import pytest
from exchange_sets import CLASSES, SCORED, make_dataset, write_as
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bccd.data.checks.report import make_report
from bccd.data.classes import class_key
from bccd.data.formats.annotated_image import AnnotatedBox, AnnotatedImage
from bccd.data.formats.conversion import convert
from bccd.data.formats.registry import FORMATS, format_of, read_dataset

# How far a corner may be off, in pixels, after writing and reading.
TOLERANCE = {"imagej": 1e-5, "voc": 1e-9, "yolo": 1e-9}

letters = st.sampled_from("aZ09 éếồđ中&<>\"'/:,;()-_.#%")
class_names = st.lists(
    st.text(letters, min_size=1, max_size=12).map(str.strip).filter(bool),
    min_size=1,
    max_size=4,
    unique_by=class_key,
)
corner = st.integers(0, 999).map(lambda v: v / 1000) | st.floats(0, 1, allow_subnormal=False)


@st.composite
def boxes(draw, classes):
    x0, x1 = sorted((64 * draw(corner), 64 * draw(corner)))
    y0, y1 = sorted((48 * draw(corner), 48 * draw(corner)))
    x1, y1 = max(x1, x0 + 0.5), max(y1, y0 + 0.5)  # ImageJ's 32 bits keep these apart
    corners = (min(x0, 63.0), min(y0, 47.0), min(x1, 64.0), min(y1, 48.0))
    return draw(st.sampled_from(classes)), corners, draw(st.none() | st.floats(0, 1))


@st.composite
def data_sets(draw):
    classes = draw(class_names)
    listed = st.lists(boxes(classes), max_size=4)
    return {"one": draw(listed), "two words": draw(listed)}, classes


def content(dataset):
    """{file name: its boxes} in an order of their own."""
    return {
        image.path.name: sorted(
            ((box.name, box.corners, box.score) for box in image.boxes),
            key=lambda box: (box[0], *(round(v, 3) for v in box[1])),
        )
        for image in dataset.images.values()
    }


def assert_same(found, wanted, form):
    found, wanted = content(found), content(wanted)
    assert found.keys() == wanted.keys()
    for name, boxes_of_image in wanted.items():
        assert len(found[name]) == len(boxes_of_image)
        for ours, theirs in zip(boxes_of_image, found[name], strict=True):
            assert theirs[0] == ours[0]
            assert theirs[1] == pytest.approx(ours[1], abs=TOLERANCE.get(form, 1e-10))
            assert theirs[2] == (ours[2] if FORMATS[form].scores else None)


@pytest.mark.parametrize("form", FORMATS)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(made=data_sets())
def test_classes_boxes_and_scores_survive_a_round_trip(tmp_path, form, made):
    shutil.rmtree(tmp_path / form, ignore_errors=True)
    images, classes = made
    dataset = make_dataset(tmp_path / "made", images, classes)
    losses = convert(dataset, form, tmp_path / form)
    assert format_of(tmp_path / form) == form
    again = read_dataset(tmp_path / form)
    assert not again.unreadable and not again.unannotated
    assert_same(again, dataset, form)
    used = {box.name for image in dataset.images.values() for box in image.boxes}
    if FORMATS[form].classes:
        assert again.class_names == classes
    assert any("no classes without a box" in loss for loss in losses) == (
        used != set(classes) and not FORMATS[form].classes
    )
    scored = any(box.score is not None for i in dataset.images.values() for box in i.boxes)
    assert any("no scores" in loss for loss in losses) == (scored and not FORMATS[form].scores)


@pytest.mark.parametrize("form", FORMATS)
def test_folders_and_odd_names_are_kept_and_the_result_is_checked(tmp_path, form):
    folder = write_as(form, tmp_path)
    report = make_report(read_dataset(folder))
    assert report["usable"] and report["format"] == form
    assert report["images"] == 3 and report["labels"] == dict.fromkeys(CLASSES, 1)
    names = sorted(read_dataset(folder).images)
    assert [name.replace("train/", "") for name in names] == sorted(SCORED)
    for target in ("coco", "cvat"):  # from each format to another
        convert(read_dataset(folder), target, tmp_path / f"{form} {target}")
        assert_same(read_dataset(tmp_path / f"{form} {target}"), read_dataset(folder), form)


@pytest.mark.parametrize("form", FORMATS)
def test_parts_are_kept_or_said(tmp_path, form):
    names = list(SCORED)
    splits = {"train": names[:2], "val": names[2:]}
    dataset = make_dataset(tmp_path / "made", splits=splits)
    assert not any("lists of images" in loss for loss in convert(dataset, form, tmp_path / "new"))
    again = read_dataset(tmp_path / "new")
    assert {part: len(members) for part, members in again.splits.items()} == {"train": 2, "val": 1}

    own = make_dataset(tmp_path / "made", splits={"mine": names[:2], "both": names})
    losses = convert(own, form, tmp_path / "own")
    again = read_dataset(tmp_path / "own")
    assert len(again.images) == 3 and not again.unannotated
    said = any("lists of images" in loss and "mine, both are left out" in loss for loss in losses)
    assert said == (FORMATS[form].parts != "any")
    if not said:
        assert {p: len(m) for p, m in again.splits.items()} == {"mine": 2, "both": 3}


@pytest.mark.parametrize("name", ["", "RBC\x00", "a\nb"])
def test_classes_that_no_file_holds_are_refused(tmp_path, name):
    dataset = make_dataset(tmp_path / "made", {"a": []}, ["RBC", name])
    with pytest.raises(ValueError, match=r"made: the class '.*' is empty, or has characters"):
        convert(dataset, "coco", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("form", FORMATS)
def test_an_image_in_no_part_keeps_its_annotation(tmp_path, form):
    dataset = make_dataset(tmp_path / "made", splits={"train": ["a ế"]})
    convert(dataset, form, tmp_path / "new")
    again = read_dataset(tmp_path / "new")
    assert len(again.images) == 3 and not again.unannotated
    assert_same(again, dataset, form)


@pytest.mark.parametrize("form", [name for name, form in FORMATS.items() if not form.crowds])
def test_regions_of_several_cells_are_said(tmp_path, form):
    dataset = make_dataset(tmp_path / "made")
    image = dataset.images["s1/b"]
    (box,) = image.boxes
    crowd = AnnotatedBox(box.name, box.corners, None, "", 1)
    dataset.images["s1/b"] = AnnotatedImage(*list(vars(image).values())[:-1], (crowd,))
    (loss,) = [each for each in convert(dataset, form, tmp_path / "new") if "regions" in each]
    assert "1 are written as cells" in loss
