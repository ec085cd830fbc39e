#!/usr/bin/env python
"""Draw a data set: class histogram, an annotated field, box sizes, augmentations.

Example:
    python tools/visualize_data.py --dataset bccd_paper_train bccd_paper_val bccd_paper_test \\
        --output figures --augmentations --config-file configs/SSD/ssd_lite_bccd.yaml
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from detectron2.data import MetadataCatalog
from matplotlib.figure import Figure

from bccd.config import get_bccd_cfg
from bccd.data.records import dataset_class_names, load_records
from bccd.data.sources.catalog import register_datasets
from bccd.data.transforms.augmentation import build_augmentations, named_augmentations
from bccd.visualization.dataset import (
    annotated_field,
    augmentation_gallery,
    box_size_histogram,
    choose_field,
    class_histogram,
)
from bccd.visualization.png import write_png
from bccd.visualization.style import save


def get_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset",
        nargs="+",
        required=True,
        metavar="NAME",
        help="registered names, side by side in the class histogram",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="DIR")
    parser.add_argument(
        "--image", type=int, metavar="ID", help="field to draw, by default one with many cells"
    )
    parser.add_argument(
        "--augmentations", action="store_true", help="draw those of --config-file as well"
    )
    parser.add_argument("--config-file", metavar="FILE", help="yaml of a detector")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys"
    )
    return parser


def draw_augmentations(records: list[dict], args: argparse.Namespace, classes: Sequence) -> Figure:
    """The gallery of each augmentation alone and all together."""
    cfg = get_bccd_cfg()
    if args.config_file:
        cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    alone = named_augmentations(cfg).items()
    together = ("all, as trained", build_augmentations(cfg, is_train=True))
    rows = [("original", []), *alone, together, together, together]
    fields = [records[0], records[-1]]
    return augmentation_gallery(fields, rows, *classes, seed=max(cfg.SEED, 0))


def main(argv: list[str] | None = None) -> int:
    """Draw the figures and print where they are; a wrong command line exits with 2."""
    parser = get_parser()
    args = parser.parse_args(argv)
    try:
        register_datasets(*args.dataset)
        names = dataset_class_names(args.dataset[0])
        datasets = {name: load_records(name, names, need_boxes=True) for name in args.dataset}
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    classes = names, MetadataCatalog.get(args.dataset[0]).get("thing_colors")
    records = [record for part in datasets.values() for record in part]
    field = choose_field(records, len(names))
    if args.image is not None:
        matching = [record for record in records if record["image_id"] == args.image]
        if not matching:
            parser.error(f"no image {args.image} in {' '.join(args.dataset)}")
        field = matching[0]

    paths = [
        save(class_histogram(datasets, *classes), args.output / "class_histogram.png"),
        save(box_size_histogram(records, *classes), args.output / "box_sizes.png"),
        args.output / f"field_{field['image_id']:05d}.png",
    ]
    write_png(paths[-1], annotated_field(field, *classes))
    if args.augmentations:
        gallery = draw_augmentations(records, args, classes)
        paths.append(save(gallery, args.output / "augmentations.png"))
    print("\n".join(str(path) for path in paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
