"""One small data set in the layouts in which annotation programs write it."""

import json
from pathlib import Path

from voc_trees import OBJECT, write_picture

SIZE = (64, 48)
CLASSES = ["Lymphocyte", "Blast"]
# image: its boxes, of which quarters of a pixel are exact in every format
IMAGES = {
    "smear_3": [("Lymphocyte", (4.0, 6.0, 20.0, 30.0)), ("Blast", (30.0, 9.0, 60.0, 42.0))],
    "smear_7": [("Blast", (8.0, 12.0, 32.0, 36.0))],
    "smear_9": [],
}


def pictures(folder, rename="{}.jpg"):
    for seed, name in enumerate(IMAGES):
        write_picture(folder / rename.format(name), seed, SIZE)


def xml(folder, *, stem="{}", filename="{}.jpg", size=True):
    folder.mkdir(parents=True, exist_ok=True)
    stated = f"<size><width>{SIZE[0]}</width><height>{SIZE[1]}</height></size>" if size else ""
    for name, boxes in IMAGES.items():
        objects = "".join(OBJECT.format(label, *box) for label, box in boxes)
        text = f"<annotation><filename>{filename.format(name)}</filename>{stated}{objects}"
        (folder / f"{stem.format(name)}.xml").write_text(text + "</annotation>")


def coco(path, *, file_name="{}.jpg", polygons=False, categories=CLASSES):
    content = {"images": [], "annotations": [], "categories": []}
    for number, name in enumerate(categories, start=1):
        content["categories"].append({"id": number, "name": name, "supercategory": ""})
    for number, (name, boxes) in enumerate(IMAGES.items(), start=1):
        image = {"id": number, "file_name": file_name.format(name)}
        content["images"].append({**image, "width": SIZE[0], "height": SIZE[1]})
        for label, (x0, y0, x1, y1) in boxes:
            annotation = {"id": len(content["annotations"]), "image_id": number, "iscrowd": 0}
            annotation["category_id"] = categories.index(label) + 1
            if polygons:
                annotation["segmentation"] = [[x0, y0, x1, y0, x1, y1, x0, y1]]
            else:
                annotation["bbox"] = [x0, y0, x1 - x0, y1 - y0]
            content["annotations"].append(annotation)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def labels(folder, *, polygons=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, boxes in IMAGES.items():
        lines = []
        for label, box in boxes:
            x0, y0, x1, y1 = (v / SIZE[i % 2] for i, v in enumerate(box))
            values = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
            if polygons:
                values = [x0, y0, x1, y0, x1, y1, x0, y1]
            lines.append(" ".join(map(str, [CLASSES.index(label), *values])))
        if boxes:  # an image without cells needs no label file
            (folder / f"{name}.txt").write_text("\n".join(lines))


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def voc_of_bccd(root: Path):
    pictures(root / "JPEGImages")
    xml(root / "Annotations")


def voc_without_size(root):
    pictures(root / "JPEGImages")
    xml(root / "Annotations", size=False)


def voc_labelimg(root):
    pictures(root)
    xml(root)


def voc_label_studio(root):
    pictures(root / "images", "1a2b3c4d-{}.jpg")
    xml(root / "Annotations", stem="1a2b3c4d-{}", filename="1a2b3c4d-{}")


def voc_label_studio_without_its_images(root):
    pictures(root / "images")
    xml(root / "Annotations", stem="1a2b3c4d-{}", filename="1a2b3c4d-{}")


def voc_cvat_subfolder(root):
    pictures(root / "JPEGImages/slide1")
    xml(root / "Annotations/slide1")
    text(root / "ImageSets/Main/train.txt", "".join(f"slide1/{name}\n" for name in IMAGES))


def voc_class_lists(root):
    voc_of_bccd(root)
    main = root / "ImageSets/Main"
    text(main / "train.txt", "".join(f"{name}\n" for name in IMAGES))
    text(main / "Blast_train.txt", "smear_3  1\nsmear_7  1\nsmear_9 -1\n")


def voc_roboflow(root):
    pictures(root / "train", "{}_jpg.rf.0123.jpg")
    xml(root / "train", stem="{}_jpg.rf.0123", filename="{}_jpg.rf.0123.jpg")


def voc_named_by_number(root):
    pictures(root / "JPEGImages", "field {}.jpg")
    for number, name in enumerate(IMAGES):
        xml(root / "Annotations", stem=f"{number} {{}}", filename="field {}.jpg")
        for other in IMAGES.keys() - {name}:
            (root / f"Annotations/{number} {other}.xml").unlink()


def coco_cvat(root):
    pictures(root / "images")
    coco(root / "annotations/instances_default.json")


def roboflow_jpg(root):
    pictures(root / "train")
    coco(root / "train/_annotations.coco.json")


def roboflow_polygons(root):
    pictures(root / "train")
    coco(root / "train/_annotations.coco.json", polygons=True)


def coco_backslashes(root):
    pictures(root / "images/1")
    coco(root / "result.json", file_name="images\\1\\{}.jpg")


def coco_of_another_computer(root):
    pictures(root / "images")
    coco(root / "result.json", file_name="/data/upload/1/1a2b3c4d-{}.jpg")


def yolo_roboflow(root):
    pictures(root / "train/images")
    labels(root / "train/labels")
    names = "nc: 2\nnames: ['Lymphocyte', 'Blast']\n"
    text(root / "data.yaml", f"train: ../train/images\nval: ../valid/images\n{names}")


def yolo_ultralytics(root):
    pictures(root / "images/train")
    labels(root / "labels/train", polygons=True)
    lists = "".join(f"./images/train/{name}.jpg\n" for name in IMAGES)
    text(root / "train.txt", lists)
    names = "names:\n  0: Lymphocyte\n  1: Blast\n"
    text(root / "cells.yaml", f"path: /elsewhere/cells\ntrain: [train.txt]\n{names}")


def yolo_label_studio(root):
    pictures(root / "images")
    labels(root / "labels")
    text(root / "classes.txt", "Lymphocyte\nBlast\n")


def yolo_cvat(root):
    pictures(root / "obj_train_data")
    labels(root / "obj_train_data")
    text(root / "obj.names", "Lymphocyte\nBlast")


STARTS = ("voc_", "coco_", "yolo_", "roboflow_")
LAYOUTS = [write for name, write in list(globals().items()) if name.startswith(STARTS)]
