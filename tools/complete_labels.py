#!/usr/bin/env python3
"""Complete the labels of a data set for training, and write them as COCO JSON.

    python tools/complete_labels.py --dataset bccd_paper_train
    python tools/complete_labels.py --dataset txl_pbc_raabin_train --classes Platelets

Images with a second annotation get it. To the others the cells are added that the model finds, at
its thresholds for counting, and that nobody marked. On the images with a second annotation the
program tells how many of such cells it confirms. The result is the data set ``completed_DATASET``.
"""

import argparse
import json
import sys

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import numpy as np
from detectron2.utils.logger import setup_logger

from bccd import CellCounter
from bccd.data.formats.coco import to_coco
from bccd.data.records import load_records
from bccd.data.sources.catalog import completed_labels_path, dataset_root, register_datasets
from bccd.data.sources.second_annotation import load_second_annotation
from bccd.data.unlabelled import class_ids
from bccd.experiments.completed_labels import complete_labels


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="bccd_paper_train", help="a registered name")
    parser.add_argument("--model", default="sparse_rcnn_lite", help="that finds the other cells")
    parser.add_argument(
        "--classes", nargs="+", metavar="NAME", help="that are not marked completely; default: all"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="SCORE", help="default: those of the model for counting"
    )
    args = parser.parse_args(argv)
    setup_logger(name="bccd")
    register_datasets()
    try:
        counter = CellCounter(args.model, thresholds=args.threshold)
        names = counter.class_names
        wanted = class_ids(args.classes or names, "--classes", names)
        records = load_records(args.dataset, names, need_boxes=True)
        second = load_second_annotation(args.dataset, records, names) or []
    except (OSError, ValueError) as error:
        parser.error(str(error))

    def detect(file_name):
        result = counter(file_name)
        chosen = np.isin(result.classes, wanted)
        return result.boxes[chosen], result.classes[chosen]

    completed = complete_labels(records, second, detect)
    output = completed_labels_path(args.dataset)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(to_coco(completed.records, names, dataset_root())))
    added = ", ".join(f"{number} {names[k]}" for k, number in sorted(completed.added.items()))
    print(f"{output}: {len(completed.records)} images")
    print(f"{completed.second} with their second annotation; to the others were added: {added}")
    if completed.agreement[0]:
        number, confirmed = completed.agreement
        print(
            f"of {number} cells that it would have added where there is a second annotation, "
            f"it marks {confirmed} ({confirmed / number:.0%})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
