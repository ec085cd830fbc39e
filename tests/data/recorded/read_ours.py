"""Read what ``bccd convert`` writes with the libraries of other programs, and compare.

    python tests/data/recorded/read_ours.py write FOLDER     in the project's environment
    python tests/data/recorded/read_ours.py LIBRARY FOLDER   in one with that library

The first writes the images of record.py in every format; the second prints what the library reads
and fails where it is not what was written.
"""

import json
import sys
from pathlib import Path

from record import CLASSES, IMAGES, SIZE, coco, pictures


def write(folder: Path) -> None:
    from bccd.data.formats.conversion import convert
    from bccd.data.formats.registry import FORMATS, read_dataset

    pictures(folder / "in" / "images")
    (folder / "in" / "train.json").write_text(json.dumps(coco()))
    for form in FORMATS:
        print(form, convert(read_dataset(folder / "in"), form, folder / form))


def same(found: dict, digits: int, scores: bool = False) -> None:
    """Compare {image: [(class, corners, score)]} with what was written."""

    def rounded(images):
        return {
            name: sorted(
                (label, *(round(float(v), digits) for v in (*box, score if scores else 0)))
                for label, box, score in boxes
            )
            for name, boxes in images.items()
        }

    assert rounded(found) == rounded(IMAGES), (rounded(found), rounded(IMAGES))


def labelme(folder: Path) -> None:
    from labelme._label_file import LabelFile

    found = {}
    for name in IMAGES:
        file = LabelFile(str(folder / "labelme" / "train" / f"{name}.json"))
        found[name] = [
            (s["label"], (*s["points"][0], *s["points"][1]), s["other_data"]["score"])
            for s in file.shapes
        ]
    same(found, 9, scores=True)


def supervision(folder: Path) -> None:
    import supervision as sv

    def read(dataset):
        found = {name: [] for name in IMAGES}
        for path, _, boxes in dataset:
            for box, k in zip(boxes.xyxy, boxes.class_id, strict=True):
                found[Path(path).stem].append((dataset.classes[k], box, 0))
        return found

    images = str(folder / "coco" / "images")
    kind = sv.DetectionDataset
    same(read(kind.from_coco(images, str(folder / "coco" / "annotations" / "train.json"))), 3)
    images = str(folder / "voc" / "JPEGImages")
    voc = read(kind.from_pascal_voc(images, str(folder / "voc" / "Annotations")))
    for boxes in voc.values():  # it takes the left and upper corner as numbered from 1
        boxes[:] = [
            (label, tuple(map(sum, zip(box, (1, 1, 0, 0), strict=True))), score)
            for label, box, score in boxes
        ]
    same(voc, 3)
    beside = str(folder / "labelme" / "train")
    same(read(kind.from_labelme(beside, beside)), 3)
    yolo = folder / "yolo"
    paths = str(yolo / "images"), str(yolo / "labels"), str(yolo / "data.yaml")
    same(read(kind.from_yolo(*paths)), 3)


def datumaro(folder: Path) -> None:
    from datumaro.components.dataset import Dataset

    sources = {
        "cvat": Dataset.import_from(str(folder / "cvat/annotations.xml"), "cvat", subset="train"),
        "coco": Dataset.import_from(str(folder / "coco/annotations/train.json"), "coco_instances"),
    }
    for form, dataset in sources.items():
        labels = dataset.categories()[next(k for k in dataset.categories() if k.name == "label")]
        found = {
            Path(item.id).name: [
                (
                    labels[a.label].name,
                    (a.x, a.y, a.x + a.w, a.y + a.h),
                    float(a.attributes["score"]),
                )
                for a in item.annotations
                if hasattr(a, "w")
            ]
            for item in dataset
        }
        same(found, 2, scores=True)
        print(form)


def label_studio_sdk(folder: Path) -> None:
    from label_studio_sdk.converter import Converter

    tasks = json.loads((folder / "labelstudio" / "tasks.json").read_text())
    for task in tasks:  # as when a person accepts the predictions
        task["annotations"] = task["annotations"] or task["predictions"]
    (folder / "accepted.json").write_text(json.dumps(tasks))
    config = (folder / "labelstudio" / "labelling.xml").read_text()
    converter = Converter(config, project_dir=str(folder), upload_dir=str(folder))
    converter.convert_to_coco(str(folder / "accepted.json"), str(folder / "ls"), is_dir=False)
    content = json.loads((folder / "ls" / "result.json").read_text())
    names = {c["id"]: c["name"] for c in content["categories"]}
    found = {name: [] for name in IMAGES}
    images = {i["id"]: i["file_name"] for i in content["images"]}
    print(images)
    for a in content["annotations"]:
        (name,) = (name for name in IMAGES if name.replace(" ", "%20") in images[a["image_id"]])
        x, y, w, h = a["bbox"]
        found[name].append((names[a["category_id"]], (x, y, x + w, y + h), 0))
    same(found, 6)


def fiftyone(folder: Path) -> None:
    import fiftyone as fo

    width, height = SIZE
    found = {}
    for values in json.loads((folder / "fiftyone" / "samples.json").read_text())["samples"]:
        sample = fo.Sample.from_dict(values)
        found[Path(sample.filepath).stem] = [
            (
                d.label,
                [
                    *(d.bounding_box[0] * width, d.bounding_box[1] * height),
                    (d.bounding_box[0] + d.bounding_box[2]) * width,
                    (d.bounding_box[1] + d.bounding_box[3]) * height,
                ],
                d.confidence,
            )
            for d in sample.ground_truth.detections
        ]
        assert sample.metadata.width == width and sample.tags == ["train"]
    same(found, 6, scores=True)


READERS = {
    **{"write": write, "labelme": labelme, "supervision": supervision, "datumaro": datumaro},
    **{"label-studio-sdk": label_studio_sdk, "fiftyone": fiftyone},
}

if __name__ == "__main__":
    assert CLASSES
    READERS[sys.argv[1]](Path(sys.argv[2]))
    print(sys.argv[1], "reads the same")
