"""Write the files of this folder with the libraries of other programs.

    python tests/data/recorded/record.py LIBRARY

in an environment with that library: labelme, label-studio-sdk, datumaro, supervision or fiftyone.
None of them is needed by the project or its tests: a test reads what is recorded here. Pictures are
left out; they are grey, of SIZE.
"""

import json
import shutil
import sys
import tempfile
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).parent
SIZE = (64, 48)
CLASSES = ["Lymphocyte", "Hồng cầu nhỏ"]
# image: its boxes as (class, corners, score)
IMAGES = {
    "smear 3": [
        ("Lymphocyte", (4.25, 6.5, 20.0, 30.75), 0.9375),
        ("Hồng cầu nhỏ", (30.0, 9.0, 60.0, 42.0), 0.5),
    ],
    "smear_7": [("Hồng cầu nhỏ", (8.0, 12.0, 32.0, 36.0), 0.25)],
    "smear_9": [],
}


def pictures(folder: Path) -> dict[str, Path]:
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in IMAGES}
    for number, path in enumerate(paths.values()):
        Image.new("RGB", SIZE, (200, 150 + 20 * number, 160)).save(path)
    return paths


def labelme(out: Path, work: Path) -> None:
    from labelme._label_file import write_label_file

    for name, boxes in IMAGES.items():
        shapes = [
            {
                **{"label": label, "points": [[x1, y1], [x0, y0]], "group_id": None},
                **{"description": "", "shape_type": "rectangle", "flags": {}, "mask": None},
                "score": score,
            }
            for label, (x0, y0, x1, y1), score in boxes
        ]
        image_path = f"..\\images\\{name}.png"
        size = {"image_width": SIZE[0], "image_height": SIZE[1]}
        write_label_file(str(out / f"{name}.json"), shapes=shapes, image_path=image_path, **size)


def coco() -> dict:
    """The images as COCO, for the libraries that start from it."""
    images, annotations = [], []
    for number, (name, boxes) in enumerate(IMAGES.items(), start=1):
        size = {"width": SIZE[0], "height": SIZE[1]}
        images.append({"id": number, "file_name": f"{name}.png", **size})
        for label, (x0, y0, x1, y1), score in boxes:
            annotations.append(
                {
                    **{"id": len(annotations) + 1, "image_id": number, "iscrowd": 0},
                    **{"category_id": CLASSES.index(label) + 1, "score": score},
                    **{"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)},
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def label_studio_sdk(out: Path, work: Path) -> None:
    """Tasks that its importer makes of COCO, and what its converter exports of tasks."""
    from label_studio_sdk.converter import Converter
    from label_studio_sdk.converter.imports.coco import convert_coco_to_ls

    pictures(work / "images")
    (work / "coco.json").write_text(json.dumps(coco()))
    target = out / "imported" / "tasks.json"
    target.parent.mkdir()
    root = "/data/local-files/?d=images"
    convert_coco_to_ls(str(work / "coco.json"), str(target), image_root_url=root)
    for path in target.parent.glob("*.xml"):
        path.rename(target.parent / "labelling.xml")
    config = "".join(f'<Label value="{name}"/>' for name in CLASSES)
    config = (
        '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
        f"{config}</RectangleLabels></View>"
    )
    tasks = _exported_tasks()
    (work / "exported.json").write_text(json.dumps(tasks))
    converter = Converter(config, project_dir=str(work), upload_dir=str(work / "images"))
    source = str(work / "exported.json")
    for name, convert in (
        ("json", converter.convert_to_json),
        ("json_min", converter.convert_to_json_min),
        ("coco", converter.convert_to_coco),
        ("voc", converter.convert_to_voc),
        ("yolo", converter.convert_to_yolo),
    ):
        convert(source, str(out / name), is_dir=False)


def _exported_tasks():
    """Tasks as Label Studio exports them once a person has accepted the boxes."""
    tasks = []
    for number, (name, boxes) in enumerate(IMAGES.items(), start=1):
        results = [
            {
                **{"id": f"r{number}{i}", "type": "rectanglelabels", "image_rotation": 0},
                **{"from_name": "label", "to_name": "image", "score": score},
                **{"original_width": SIZE[0], "original_height": SIZE[1]},
                "value": {
                    **{"x": 100 * x0 / SIZE[0], "y": 100 * y0 / SIZE[1], "rotation": 0},
                    **{"width": 100 * (x1 - x0) / SIZE[0], "height": 100 * (y1 - y0) / SIZE[1]},
                    "rectanglelabels": [label],
                },
            }
            for i, (label, (x0, y0, x1, y1), score) in enumerate(boxes)
        ]
        annotation = {"id": number, "completed_by": {"id": 1, "email": "a@b.c"}, "result": results}
        annotation |= {"was_cancelled": False, "created_at": "2026-01-01T00:00:00Z"}
        image = f"/data/upload/1/1a2b3c4d-{name}.png"
        tasks.append({"id": number, "data": {"image": image}, "annotations": [annotation]})
    return tasks


def datumaro(out: Path, work: Path) -> None:
    import numpy as np
    from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories
    from datumaro.components.dataset import Dataset
    from datumaro.components.dataset_base import DatasetItem
    from datumaro.components.media import Image

    items = [
        DatasetItem(
            id=name,
            subset="train",
            media=Image.from_numpy(np.full((SIZE[1], SIZE[0], 3), 200, np.uint8)),
            annotations=[
                Bbox(x0, y0, x1 - x0, y1 - y0, label=CLASSES.index(label), id=i + 1, group=i + 1)
                for i, (label, (x0, y0, x1, y1), _) in enumerate(boxes)
            ],
        )
        for name, boxes in IMAGES.items()
    ]
    categories = {AnnotationType.label: LabelCategories.from_iterable(CLASSES)}
    dataset = Dataset.from_iterable(items, categories=categories)
    for form in ("cvat", "coco_instances", "voc_detection", "yolo", "yolo_ultralytics"):
        try:
            dataset.export(str(out / form), form, save_media=True)
        except Exception as error:  # a name that this version has not
            print(f"{form}: {error}")
            shutil.rmtree(out / form, ignore_errors=True)


def supervision(out: Path, work: Path) -> None:
    import numpy as np
    import supervision as sv

    paths = {str(path): IMAGES[name] for name, path in pictures(work / "images").items()}
    annotations = {
        path: sv.Detections(
            xyxy=np.array([box for _, box, _ in boxes], dtype=np.float32).reshape(-1, 4),
            class_id=np.array([CLASSES.index(label) for label, _, _ in boxes], dtype=int),
            confidence=np.array([score for _, _, score in boxes], dtype=np.float32),
        )
        for path, boxes in paths.items()
    }
    dataset = sv.DetectionDataset(CLASSES, list(paths), annotations)
    dataset.as_coco(annotations_path=str(out / "coco" / "annotations.json"))
    dataset.as_pascal_voc(annotations_directory_path=str(out / "voc"))
    dataset.as_labelme(annotations_directory_path=str(out / "labelme"))
    dataset.as_yolo(
        annotations_directory_path=str(out / "yolo" / "labels"),
        data_yaml_path=str(out / "yolo" / "data.yaml"),
    )
    folder = out / "yolo" / "labels"
    folder.rename(out / "yolo" / "train")
    (out / "yolo" / "train").rename(out / "yolo" / "labels")


def fiftyone(out: Path, work: Path) -> None:
    """Samples as its exporter serialises them; the exporter itself needs the database server."""
    import fiftyone as fo
    from bson import json_util

    samples, (width, height) = [], SIZE
    for name, path in pictures(work / "images").items():
        detections = [
            fo.Detection(
                label=label,
                bounding_box=[x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height],
                confidence=score,
            )
            for label, (x0, y0, x1, y1), score in IMAGES[name]
        ]
        size = fo.ImageMetadata(width=width, height=height)
        sample = fo.Sample(filepath=f"data/{path.name}", tags=["train"], metadata=size)
        sample.filepath = f"data/{path.name}"
        sample["ground_truth"] = fo.Detections(detections=detections)
        samples.append(sample.to_mongo_dict(include_id=True))
    (out / "samples.json").write_text(json_util.dumps({"samples": samples}, indent=1))


RECORDERS = {
    "labelme": labelme,
    "label-studio-sdk": label_studio_sdk,
    "datumaro": datumaro,
    "supervision": supervision,
    "fiftyone": fiftyone,
}


def main() -> None:
    library = sys.argv[1]
    out = FOLDER / library
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    with tempfile.TemporaryDirectory() as work:
        RECORDERS[library](out, Path(work))
    for path in list(out.rglob("*")):
        if path.suffix in (".png", ".jpg", ".jpeg"):
            path.unlink()
    for path in sorted(out.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    (out / "VERSION").write_text(f"{library} {metadata.version(library)}\n")


if __name__ == "__main__":
    main()
