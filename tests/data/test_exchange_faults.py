"""The faults for which exports are known: read, or said by file and entry."""

import io
import json
import re
import shutil
import zipfile

import numpy as np
import pytest
from exchange_sets import SIZE, make_dataset, write_as
from PIL import Image
from roifile import ROI_TYPE, ImagejRoi
from test_exchange import assert_same, content

from bccd import cli, console
from bccd.data.checks.report import make_report
from bccd.data.formats.conversion import convert
from bccd.data.formats.registry import FORMATS, read_dataset

IMAGES = {
    "a": [("RBC", (4.0, 6.0, 20.0, 30.0), 0.5), ("WBC", (30.0, 9.0, 60.0, 42.0), None)],
    "b": [("RBC", (8.0, 12.0, 32.0, 36.0), None)],
}
MADE = {"images": IMAGES, "classes": ["RBC", "WBC"]}
# The file that holds the annotation of image a.
FILES = {
    "coco": "annotations/all.json",
    "voc": "Annotations/a.xml",
    "yolo": "labels/a.txt",
    "roboflow": "train/_annotations.coco.json",
    "cvat": "annotations.xml",
    "labelstudio": "tasks.json",
    "labelme": "a.json",
    "via": "via_project.json",
    "qupath": "a.geojson",
    "imagej": "a.zip",
    "fiftyone": "samples.json",
}
TEXT_FORMATS = [form for form in FORMATS if form != "imagej"]


def errors_of(folder):
    """(file, message) of the errors that bccd check finds."""
    report = make_report(read_dataset(folder))
    kinds = ("unreadable annotation", "impossible box", "size mismatch", "unknown class")
    kinds += ("annotation or list entry without an image", "image without an annotation")
    found = [(p["file"], p["message"]) for p in report["problems"] if p["kind"] in kinds]
    assert report["usable"] == (not found)
    return found


def change(folder, form, old, new, count=1):
    path = folder / FILES[form]
    text = path.read_text(encoding="utf-8")
    assert re.search(old, text), text
    path.write_text(re.sub(old, new, text, count=count), encoding="utf-8")


@pytest.mark.parametrize("form", TEXT_FORMATS)
@pytest.mark.parametrize("fault", ["byte order mark", "line ends of Windows"])
def test_text_as_windows_writes_it_is_read(tmp_path, form, fault):
    folder = write_as(form, tmp_path, **MADE)
    wanted = read_dataset(folder)
    for path in folder.rglob("*"):
        if path.suffix in (".json", ".geojson", ".xml", ".txt", ".yaml"):
            content_ = path.read_bytes()
            if fault == "byte order mark":
                path.write_bytes(b"\xef\xbb\xbf" + content_)
            else:
                path.write_bytes(content_.replace(b"\n", b"\r\n"))
    assert errors_of(folder) == []
    assert_same(read_dataset(folder), wanted, form)


# Paths as another computer has them; pictures lie in a subfolder.
PATHS = {
    "coco": (r'"a\.png"', r'"C:\\\\data\\\\set\\\\a.png"'),
    "roboflow": (r'"a\.png"', r'"train\\\\a.png"'),
    "cvat": (r'name="a\.png"', r'name="set\\a.png"'),
    "labelstudio": (r"/data/local-files/\?d=images/a", "/data/local-files/?d=x%5Cset%5Ca"),
    "labelme": (r'"a\.png"', r'"..\\\\set\\\\a.png"'),
    "via": (r'"filename": "a\.png"', r'"filename": "D:\\\\set\\\\a.png"'),
    "fiftyone": (r"data/a\.png", r"C:\\\\set\\\\a.png"),
    "voc": (r"<filename>a\.png", r"<filename>C:\\set\\a.png"),
}


@pytest.mark.parametrize("form", PATHS)
def test_windows_paths_and_images_in_subfolders_are_found(tmp_path, form):
    folder = write_as(form, tmp_path, **MADE)
    wanted = read_dataset(folder)
    change(folder, form, *PATHS[form])
    picture = next(folder.rglob("a.png"))
    if form != "voc":
        (picture.parent / "set").mkdir()
        picture.rename(picture.parent / "set" / "a.png")
    assert errors_of(folder) == []
    assert_same(read_dataset(folder), wanted, form)


@pytest.mark.parametrize(
    ("form", "old", "new"),
    [
        ("labelstudio", r"images/a\.png", "1a2b3c4d-a.png"),
        ("labelstudio", r"/data/local-files/\?d=images/a\.png", "/data/upload/3/1a2b3c4d-a.png"),
        ("labelstudio", r"/data/local-files/\?d=images/a\.png", "http://host:8080/x/a.png?v=1"),
        ("coco", r'"a\.png"', '"/data/upload/1/1a2b3c4d-a.png"'),
    ],
)
def test_hashed_and_remote_names_are_found(tmp_path, form, old, new):
    folder = write_as(form, tmp_path, **MADE)
    wanted = read_dataset(folder)
    change(folder, form, old, new)
    assert errors_of(folder) == []
    assert_same(read_dataset(folder), wanted, form)


def test_label_files_with_a_hash_belong_to_their_images(tmp_path):
    folder = write_as("yolo", tmp_path, **MADE)
    wanted = read_dataset(folder)
    (folder / "labels/a.txt").rename(folder / "labels/1a2b3c4d-a.txt")
    assert_same(read_dataset(folder), wanted, "yolo")


@pytest.mark.parametrize("first", [0, 1, 7])
def test_class_ids_of_coco_may_start_anywhere(tmp_path, first):
    folder = write_as("coco", tmp_path, **MADE)
    wanted = read_dataset(folder)
    path = folder / FILES["coco"]
    values = json.loads(path.read_text())
    for category in values["categories"]:
        category["id"] += first - 1
    for annotation in values["annotations"]:
        annotation["category_id"] += first - 1
    path.write_text(json.dumps(values))
    assert_same(read_dataset(folder), wanted, "coco")


def test_class_numbers_of_yolo_from_1_are_said(tmp_path):
    folder = write_as("yolo", tmp_path, **MADE)
    for path in (folder / "labels").iterdir():
        path.write_text(re.sub(r"(?m)^(\d)", lambda m: str(int(m[1]) + 1), path.read_text()))
    ((file, message),) = errors_of(folder)
    assert file == "labels/a.txt" and "class 2, but there are 2 names, numbered from 0" in message


# (format, pattern, replacement, what is said)
FAULTS = {
    "coco segmentation that is no polygon": (
        "coco",
        r'"bbox": \[4[^]]*\]',
        '"segmentation": {"counts": "abc", "size": [48, 64]}',
        r"annotation 1: bbox is missing, and segmentation has no polygons",
    ),
    "coco box outside": ("coco", r'"bbox": \[4.0', '"bbox": [400.0', "lies outside its image"),
    "coco score": ("coco", r'"score": 0.5', '"score": 50', "annotation 1: score is 50, expected"),
    "coco box not finite": ("coco", r'"bbox": \[4.0', '"bbox": [NaN', "is not finite"),
    "coco huge number": ("coco", r'"bbox": \[4.0', '"bbox": [1' + "0" * 400, "bbox is"),
    "voc inverted": ("voc", "<xmin>4", "<xmin>24", "is inverted"),
    "yolo pixels": ("yolo", r"0 0\.\d+", "0 12", "expected shares of the image's size"),
    "cvat outside": ("cvat", r'xtl="4.0"', 'xtl="-400" xbrr=""', "reach|outside|past"),
    "cvat points": (
        "cvat",
        "<box label",
        '<points points="1,2" label="RBC"/><box label',
        "<points> of a.png has no box",
    ),
    "cvat no number": ("cvat", r'xtl="4.0"', 'xtl="four"', "xtl is 'four', expected a number"),
    "cvat no label": ("cvat", 'label="RBC" source', 'label="" source', "<box> lacks label"),
    "cvat video": ("cvat", "<image ", "<track/><image ", "<track> is of CVAT for video"),
    "cvat other size": ("cvat", 'width="64"', 'width="48"', "states 48x48, but a.png has 64x48"),
    "label studio pixels": (
        "labelstudio",
        r'"x": 6.25',
        '"x": 400',
        "task 1, prediction 1, result 1, value: 400, 12.5 are no percent of the image's sides",
    ),
    "label studio turned": (
        "labelstudio",
        '"image_rotation": 0',
        '"image_rotation": 90',
        "task 1, prediction 1, result 1: the image was turned in Label Studio by image_rotation 90",
    ),
    "label studio brush": (
        "labelstudio",
        '"type": "rectanglelabels"',
        '"type": "brushlabels"',
        "task 1, prediction 1, result 1: a region of type brushlabels has no box",
    ),
    "label studio no label": (
        "labelstudio",
        r'"rectanglelabels": \[\s*"RBC"\s*\]',
        '"rectanglelabels": []',
        r"rectanglelabels is \[\], expected one class",
    ),
    "labelme point": (
        "labelme",
        '"shape_type": "rectangle"',
        '"shape_type": "point"',
        "shape 1: shape_type point has no box",
    ),
    "labelme label": ("labelme", '"label": "RBC"', '"label": " "', "shape 1: label is ' '"),
    "labelme other size": ("labelme", '"imageWidth": 64', '"imageWidth": 32', "states 32x48"),
    "via point": ("via", '"name": "rect"', '"name": "point"', "region 1, shape_attributes: point"),
    "via no class": (
        "via",
        '"class": "RBC"',
        '"colour": "red", "note": "?"',
        "the attributes colour, note, of which none is called class",
    ),
    "qupath line": (
        "qupath",
        '"type": "Polygon"',
        '"type": "LineString"',
        "feature 1: a LineString has no box",
    ),
    "qupath no class": (
        "qupath",
        '"classification"',
        '"other"',
        "feature 1, properties: the object has no classification",
    ),
    "fiftyone pixels": (
        "fiftyone",
        r'"bounding_box": \[0.0625',
        '"bounding_box": [4',
        r"sample 1, ground_truth, detection 1, bounding_box is .* expected shares",
    ),
    "fiftyone no label": ("fiftyone", '"label": "RBC"', '"label": null', "label is missing"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_said_by_file_and_entry(tmp_path, capsys, fault):
    form, old, new, message = FAULTS[fault]
    folder = write_as(form, tmp_path, **MADE)
    change(folder, form, old, new)
    if "past" in message:  # is clipped, and said so
        report = make_report(read_dataset(folder))
        (problem,) = [p for p in report["problems"] if p["kind"] == "box past the border"]
        assert problem["file"] == FILES[form]
        return
    ((file, said),) = errors_of(folder)
    assert file == FILES[form] and re.search(message, said), said
    assert cli.main(["convert", str(folder), f"coco:{tmp_path / 'refused'}"]) == console.REFUSED
    assert re.search(message, capsys.readouterr().err) and not (tmp_path / "refused").exists()


OUTLINES = {
    "cvat rotation": ("cvat", "<box ", '<box rotation="90" ', (0.0, 10.0, 24.0, 26.0)),
    "cvat polygon": (
        "cvat",
        "<box label",
        '<polygon points="1,2;9,3;5,8" label',
        (1.0, 2.0, 9.0, 8.0),
    ),
    "label studio rotation": (
        "labelstudio",
        '"rotation": 0',
        '"rotation": 90',
        (-20.0, 6.0, 4.0, 22.0),
    ),
    "labelme polygon": (
        "labelme",
        r'"points": \[.*?\]\s*\](.*?)"rectangle"',
        r'"points": [[1, 2], [9, 3], [5, 8]]\1"polygon"',
        (1.0, 2.0, 9.0, 8.0),
    ),
    "labelme circle": (
        "labelme",
        r'"points": \[.*?\]\s*\](.*?)"rectangle"',
        r'"points": [[10, 10], [13, 14]]\1"circle"',
        (5.0, 5.0, 15.0, 15.0),
    ),
    "via circle": (
        "via",
        r'"name": "rect", "x": 4.0',
        '"name": "circle", "cx": 10, "cy": 10, "r": 5, "x": 4.0',
        (5.0, 5.0, 15.0, 15.0),
    ),
    "qupath polygon": (
        "qupath",
        r'"coordinates": \[\[.*?\]\]\]',
        '"coordinates": [[[1, 2], [9, 3], [5, 8], [1, 2]]]',
        (1.0, 2.0, 9.0, 8.0),
    ),
}


@pytest.mark.parametrize("outline", OUTLINES)
def test_an_outline_is_read_as_its_box_and_said(tmp_path, capsys, outline):
    form, old, new, corners = OUTLINES[outline]
    folder = write_as(form, tmp_path, **MADE)
    path = folder / FILES[form]
    text, changes = re.subn(old, new, path.read_text(), count=1, flags=re.DOTALL)
    assert changes
    if "<polygon" in new:
        text = text.replace("</box>", "</polygon>", 1)
    path.write_text(text)
    dataset = read_dataset(folder)
    assert not dataset.unreadable
    found = [box.corners for image in dataset.images.values() for box in image.boxes]
    assert any(box == pytest.approx(corners) for box in found), found
    assert [message for _, message in dataset.simplified] == [
        "1 outline is read as the box around it"
    ]
    assert cli.main(["check", str(folder)]) == console.DONE
    assert "1 outline is read as the box around it" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["coco", "cvat", "labelstudio", "via", "fiftyone"])
def test_an_image_that_is_listed_twice_is_said_where_its_boxes_differ(tmp_path, form):
    folder = write_as(form, tmp_path, **MADE)
    old = r'"filename": "b\.png"' if form == "via" else r"\bb\.png"
    new = '"filename": "a.png"' if form == "via" else "a.png"
    change(folder, form, old, new)
    errors = errors_of(folder)
    assert any("is listed twice, with other boxes each time" in message for _, message in errors)


@pytest.mark.parametrize("form", FORMATS)
def test_images_without_cells_stay_images_without_cells(tmp_path, form):
    folder = write_as(
        form, tmp_path, images={"a": IMAGES["a"], "empty": []}, classes=["RBC", "WBC"]
    )
    dataset = read_dataset(folder)
    assert content(dataset)["empty.png"] == [] and errors_of(folder) == []


@pytest.mark.parametrize("form", ["qupath", "imagej"])
def test_a_turned_image_is_refused_where_the_program_does_not_turn_it(tmp_path, form):
    folder = write_as(form, tmp_path, **MADE)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", SIZE).save(folder / "a.png", exif=exif)
    ((_, message),) = errors_of(folder)
    assert "is turned by its EXIF orientation, which this program does not do" in message
    shutil.copy(folder / "a.png", tmp_path / "made/a.png")
    with pytest.raises(ValueError, match=rf"a\.png is turned .* which {FORMATS[form].title}"):
        convert(make_dataset(tmp_path / "made", **MADE), form, tmp_path / "refused")


def test_a_turned_image_is_said_where_the_annotation_is_of_the_sensors_picture(tmp_path):
    folder = write_as("labelme", tmp_path, **MADE)
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", SIZE).save(folder / "a.png", exif=exif)
    ((file, message),) = errors_of(folder)
    assert file == "a.json" and "states 64x48, but a.png has 48x64" in message and "EXIF" in message


@pytest.mark.parametrize("form", FORMATS)
def test_zero_area_boxes_are_said(tmp_path, form):
    boxes = [("RBC", (4.0, 6.0, 20.0, 30.0), None)]
    folder = write_as(form, tmp_path, images={"a": boxes}, classes=["RBC"])
    flat = {
        "coco": (r'"bbox": \[4.0, 6.0, 16.0', '"bbox": [4.0, 6.0, 0'),
        "roboflow": (r'"bbox": \[4.0, 6.0, 16.0', '"bbox": [4.0, 6.0, 0'),
        "voc": ("<xmax>20", "<xmax>4"),
        "yolo": (r" 0\.250*(?= )", " 0"),
        "cvat": ('xbr="20.0"', 'xbr="4.0"'),
        "labelstudio": ('"width": 25.0', '"width": 0'),
        "labelme": (r"20\.0", "4.0"),
        "via": ('"width": 16.0', '"width": 0'),
        "qupath": (r"20\.0", "4.0"),
        "fiftyone": (r"(\[0.0625, 0.125, )0.25", r"\g<1>0"),
    }
    if form == "imagej":
        roi = ImagejRoi(roitype=ROI_TYPE.RECT, left=4, right=4, top=6, bottom=30, name="RBC-1")
        write_rois(folder / "a.zip", {"RBC-1": roi})
    else:
        change(folder, form, *flat[form], count=0)
    report = make_report(read_dataset(folder))
    (problem,) = report["problems"]
    assert problem["kind"] == "box without area" and report["usable"]


def write_rois(path, rois):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, roi in rois.items():
            archive.writestr(f"{name}.roi", roi.tobytes())
    path.write_bytes(stream.getvalue())


def oval(**options):
    return ImagejRoi(roitype=ROI_TYPE.OVAL, left=4, top=6, right=20, bottom=30, **options)


def test_rois_that_a_person_drew_in_imagej(tmp_path):
    folder = write_as("imagej", tmp_path, **MADE)
    outline = ImagejRoi.frompoints(np.array([[1.5, 2.0], [9.25, 3.0], [5.0, 8.75]]), name="x")
    outline.group = 1
    write_rois(
        folder / "a.zip",
        {"WBC-7": oval(), "0012-0034": outline, "RBC-1-1": oval(), "rbc-3": oval(group=2)},
    )
    dataset = read_dataset(folder)
    assert [box[0] for box in content(dataset)["a.png"]] == ["RBC", "RBC", "WBC", "rbc"]
    assert (1.5, 2.0, 9.25, 8.75) in [box[1] for box in content(dataset)["a.png"]]
    assert dataset.simplified[0][1] == "4 outlines are read as the boxes around them"


def test_a_renamed_roi_and_one_of_another_group_have_their_new_class(tmp_path):
    folder = write_as("imagej", tmp_path, **MADE)
    with zipfile.ZipFile(folder / "a.zip") as archive:
        rbc, wbc = (ImagejRoi.frombytes(archive.read(name)) for name in archive.namelist())
    write_rois(folder / "a.zip", {"WBC-0001": rbc, "WBC-0002": wbc})
    assert [box[0] for box in content(read_dataset(folder))["a.png"]] == ["WBC", "WBC"]
    rbc.group = 2
    write_rois(folder / "a.zip", {"RBC-0001": rbc, "WBC-0002": wbc})
    assert [box[0] for box in content(read_dataset(folder))["a.png"]] == ["WBC", "WBC"]


@pytest.mark.parametrize(
    ("rois", "message"),
    [
        ({"0012-0034": oval()}, "a.zip, 0012-0034.roi: the ROI has no class. Rename it"),
        (
            {"RBC-1": ImagejRoi(roitype=ROI_TYPE.POINT, n_coordinates=0)},
            "a.zip, RBC-1.roi: a point has no box",
        ),
    ],
)
def test_rois_that_cannot_be_used_are_said(tmp_path, rois, message):
    folder = write_as("imagej", tmp_path, **MADE)
    write_rois(folder / "a.zip", rois)
    ((file, said),) = errors_of(folder)
    assert file == "a.zip" and message in said


def test_a_broken_roi_is_said(tmp_path):
    folder = write_as("imagej", tmp_path, **MADE)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("RBC-1.roi", b"Iout" + bytes(20))
    (folder / "a.zip").write_bytes(stream.getvalue())
    ((file, message),) = errors_of(folder)
    assert file == "a.zip" and "RBC-1.roi: not a ROI of ImageJ" in message


def test_annotations_of_label_studio_count_before_predictions(tmp_path):
    folder = write_as("labelstudio", tmp_path, **MADE)
    path = folder / "tasks.json"
    tasks = json.loads(path.read_text())
    result = tasks[0]["predictions"][0]["result"]
    tasks[0]["annotations"] = [
        {"result": result[:1], "updated_at": "2026-01-02"},
        {"result": result, "updated_at": "2026-01-01"},
        {"result": [], "was_cancelled": True},
    ]
    path.write_text(json.dumps(tasks))
    dataset = read_dataset(folder)
    assert len(content(dataset)["a.png"]) == 1
    assert [message.partition(": ")[2] for _, message in dataset.simplified] == [
        "task 1: a skipped annotation",
        "task 1: 2 annotations, of which that the latest is read",
    ]
    tasks[0]["annotations"], tasks[0]["predictions"] = [], []
    path.write_text(json.dumps(tasks))
    assert errors_of(folder) == [
        ("images/a.png", "no annotation names this image. Annotate it, or move it away")
    ]


def test_other_forms_of_via_are_read(tmp_path):
    folder = write_as("via", tmp_path, **MADE)
    wanted = read_dataset(folder)
    project = json.loads((folder / "via_project.json").read_text())
    (folder / "via_project.json").unlink()
    metadata = project["_via_img_metadata"]
    for entry in metadata.values():  # as VIA 1 numbers the regions
        entry["regions"] = {str(i): region for i, region in enumerate(entry["regions"])}
    (folder / "export.json").write_text(json.dumps(metadata))
    assert_same(read_dataset(folder), wanted, "via")
    (folder / "export.json").unlink()
    head = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,"
    lines = [f"{head}region_attributes"]
    for entry in metadata.values():
        for i, region in entry["regions"].items():
            quoted = [
                '"' + json.dumps(region[key]).replace('"', '""') + '"'
                for key in ("shape_attributes", "region_attributes")
            ]
            row = [entry["filename"], "1", "{}", str(len(entry["regions"])), i, *quoted]
            lines.append(",".join(row))
    (folder / "export.csv").write_text("\n".join(lines))
    assert_same(read_dataset(folder), wanted, "via")


def test_other_forms_of_qupath_are_read(tmp_path):
    folder = write_as("qupath", tmp_path, **MADE)
    wanted = read_dataset(folder)
    path = folder / "a.geojson"
    features = json.loads(path.read_text())["features"]
    for feature in features:
        measured = feature["properties"].pop("measurements", None)
        if measured:  # as QuPath before 0.4
            feature["properties"]["measurements"] = [
                {"name": name, "value": value} for name, value in measured.items()
            ]
    path.unlink()
    (folder / "a.png.geojson").write_text(json.dumps(features))
    assert_same(read_dataset(folder), wanted, "qupath")


def test_a_dataset_of_fiftyone_with_several_fields(tmp_path):
    folder = write_as("fiftyone", tmp_path, **MADE)
    path = folder / "samples.json"
    samples = json.loads(path.read_text())
    for sample in samples["samples"]:
        sample["predictions"] = {"_cls": "Detections", "detections": []}
    path.write_text(json.dumps(samples))
    ((_, message),) = read_dataset(folder).simplified
    assert message == "the boxes of predictions are passed over: those of ground_truth are read"
    path.write_text(path.read_text().replace('"ground_truth"', '"mine"'))
    ((_, message),) = errors_of(folder)[:1]
    assert "boxes are in the fields mine, predictions. Export one of them" in message
