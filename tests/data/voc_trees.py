"""Small VOC trees for the tests of this folder."""

import numpy as np
from PIL import Image

OBJECT = (
    "<object><name>{}</name>\n<bndbox>\n<xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax>\n</bndbox></object>\n"
)


def write_picture(path, seed, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC).save(path, quality=95)


def write_annotation(root, stem, objects, size=(64, 48)):
    path = root / "Annotations" / f"{stem}.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f"<annotation>\n<size><width>{size[0]}</width><height>{size[1]}</height></size>\n"
        + "".join(OBJECT.format(name, *box) for name, box in objects)
        + "</annotation>\n"
    )


def write_split(root, name, stems):
    path = root / "ImageSets" / "Main" / f"{name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{stem}\n" for stem in stems))


def write_good_tree(root):
    """A VOC tree of three images in three splits, nothing wrong with it."""
    for number, split in enumerate(("train", "val", "test")):
        write_picture(root / "JPEGImages" / f"b_{number}.jpg", seed=number)
        write_annotation(root, f"b_{number}", [("RBC", (1, 2, 20, 30)), ("WBC", (5, 5, 60, 40))])
        write_split(root, split, [f"b_{number}"])
    return root
