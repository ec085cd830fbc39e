#!/usr/bin/env python
"""Draw which places of a detector learn which cell of a field: anchors, cells of maps, proposals.

The detector's own assignment decides, as in a training step. Where it depends on what the detector
predicts, weights make a difference; without --weights they are random.

Example:
    python tools/draw_assignment.py --config-file configs/SSD/ssd_lite_bccd.yaml \\
        --weights bccd://ssd_lite --dataset bccd_paper_val --output docs/images/assignment_ssd.png
"""

import argparse
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import build_model
from torch import nn

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.data.loading.mapper import BCCDDatasetMapper
from bccd.data.records import dataset_class_names, load_records
from bccd.data.sources.catalog import register_datasets
from bccd.engine.checkpoint import BCCDCheckpointer
from bccd.engine.validation_loss import loss_mode
from bccd.modeling.places import LearningPlaces
from bccd.visualization.assignment import Places, assignment_figure
from bccd.visualization.dataset import choose_field
from bccd.visualization.style import save_for_page


def get_parser() -> argparse.ArgumentParser:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True, metavar="FILE", help="yaml of a detector")
    parser.add_argument(
        "--weights", default="", metavar="FILE", help="checkpoint or bccd://name; default: random"
    )
    parser.add_argument("--dataset", default="bccd_paper_val", metavar="NAME")
    parser.add_argument(
        "--image", type=int, metavar="ID", help="field to draw, by default one with many cells"
    )
    parser.add_argument("--title", help="default: the detector's name, and what its weights are")
    parser.add_argument("--output", required=True, type=Path, metavar="FILE.png")
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE", help="config keys"
    )
    return parser


def read_config(args: argparse.Namespace) -> CfgNode:
    """The config of the detector, on the CPU."""
    cfg = get_bccd_cfg()
    merge_yaml(cfg, args.config_file)
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", args.weights, *args.opts])
    return cfg


def find_record(dataset: str, class_names: tuple[str, ...], image_id: int | None) -> dict:
    """The record of an image, or of a field that shows much.

    Raises:
        ValueError: there is no such image.
    """
    records = load_records(dataset, class_names, need_boxes=True)
    if image_id is None:
        return choose_field(records, len(class_names))
    for record in records:
        if record["image_id"] == image_id:
            return record
    raise ValueError(f"no image {image_id} in {dataset}")


def load_model(cfg: CfgNode) -> nn.Module:
    """The detector with the weights of ``cfg``; the random ones are always the same.

    Raises:
        FileNotFoundError, ValueError: the weights cannot be read, or do not fit.
        ValueError: the detector does not tell its places.
    """
    torch.manual_seed(max(cfg.SEED, 0))
    model = build_model(cfg)
    if not hasattr(model, "learning_places"):
        raise ValueError(f"{type(model).__name__} has no method learning_places, see capabilities")
    if cfg.MODEL.WEIGHTS:
        BCCDCheckpointer(model, require_all=True).load(cfg.MODEL.WEIGHTS)
    return model


def main(argv: list[str] | None = None) -> int:
    """Draw the figure and print where it is; a wrong command line exits with 2."""
    parser = get_parser()
    args = parser.parse_args(argv)
    try:
        register_datasets(args.dataset)
        names = dataset_class_names(args.dataset)
        cfg = read_config(args)
        record = find_record(args.dataset, names, args.image)
        model = load_model(cfg)
    except (FileNotFoundError, ValueError, KeyError) as error:
        parser.error(str(error))
    mapper = BCCDDatasetMapper(cfg, is_train=False, keep_annotations=True)
    sample = mapper(record)
    with loss_mode(model):
        (places,) = model.learning_places([sample])
    image = sample["image"].permute(1, 2, 0).numpy()
    figure = assignment_figure(
        np.ascontiguousarray(image if cfg.INPUT.FORMAT == "RGB" else image[:, :, ::-1]),
        sample["instances"].gt_boxes.tensor.numpy(),
        sample["instances"].gt_classes.numpy(),
        as_drawn(places),
        class_names=names,
        colors=MetadataCatalog.get(args.dataset).get("thing_colors"),
        title=args.title or f"{cfg.MODEL.META_ARCHITECTURE}, {describe_weights(args.weights)}",
    )
    print(save_for_page(figure, args.output))
    return 0


def as_drawn(places: LearningPlaces) -> Places:
    """``places`` in NumPy."""
    return Places(
        groups=list(zip(places.groups, places.totals, strict=True)),
        group=places.group.numpy(),
        points=places.points.numpy(),
        cells=places.truths.numpy(),
        boxes=None if places.boxes is None else places.boxes.numpy(),
        idle=places.idle.numpy(),
    )


def describe_weights(weights: str) -> str:
    """Words for a title."""
    return f"trained ({Path(weights).name})" if weights else "at the start of a training"


if __name__ == "__main__":
    sys.exit(main())
