"""Turn YOLOv3's weights of other programs into a checkpoint of this project.

Darknet's (.weights, or those of its backbone such as darknet53.conv.74):

python tools/convert_yolov3.py yolov3.weights yolov3_coco.pth
python train_net.py --config-file configs/YOLOv3/yolov3_darknet53_bccd.yaml \\
    MODEL.WEIGHTS yolov3_coco.pth

The later program's (.pt), whose boxes and normalisation differ:

python tools/convert_yolov3.py --config-file configs/YOLOv3/yolov3_later_bccd.yaml \\
    yolov3.pt yolov3_later.pth

KEY VALUE behind them change the config: the backbone of tiny, or the anchors of the file. The
number of classes is the file's; fine-tuning begins with new predictors.
"""

import argparse
import pkgutil
import sys

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch
from detectron2.modeling import build_model

from bccd.config import get_bccd_cfg, merge_yaml
from bccd.console import script
from bccd.engine.converted_weights import write_converted
from bccd.engine.pickled_module import read_pickled_module

names = pkgutil.resolve_name("bccd.projects.yolov3.convert")


@script
def main(argv: list[str] | None = None) -> int:
    """Convert one file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="file of Darknet (.weights) or of the later program (.pt)")
    parser.add_argument("target", help="file to write, for MODEL.WEIGHTS")
    parser.add_argument(
        "--config-file",
        default="configs/YOLOv3/yolov3_darknet53_bccd.yaml",
        help="of the same model",
    )
    parser.add_argument(
        "--darknet-cpu",
        action="store_true",
        help="normalise as Darknet does on a CPU, not as on a GPU",
    )
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="KEY VALUE of the config")
    args = parser.parse_args(argv)
    model = args.config_file, args.opts
    if args.source.endswith(".pt"):
        convert_later(args.source, args.target, *model)
    else:
        convert_darknet(args.source, args.target, *model, cpu=args.darknet_cpu)
    print(f"{args.target}: train with MODEL.WEIGHTS {args.target}")
    return 0


def convert_darknet(
    source: str, target: str, config_file: str, opts: list[str] = (), *, cpu: bool = False
) -> None:
    """Write the weights of Darknet's file ``source`` for the model of ``config_file``.

    Raises:
        ValueError: ``source`` is not of this model, nor of its first layers.
    """
    numbers = names.read_darknet(source)
    one, two = (count_all(build(config_file, opts, k)) for k in (1, 2))
    classes, rest = divmod(len(numbers) - one, two - one)
    whole = rest == 0 and classes >= 0
    model = build(config_file, opts, classes + 1 if whole else 1)
    convs = names.ordered_convs(model)
    if not whole:
        # Without predictors: those of a backbone, or a little more.
        convs = convs[: next(i for i, (name, _) in enumerate(convs) if "predictors" in name)]
        if len(numbers) > sum(names.count_numbers(convs)):
            raise ValueError(
                f"{source} has {len(numbers):,} numbers, the model of {config_file} {one:,} for "
                f"one class and {two - one:,} more for each other: use the config of its model"
            )
    try:
        eps = model_eps(convs) if cpu else None
        weights = names.convert_darknet(numbers, convs, cpu_eps=eps)
    except ValueError as error:
        raise ValueError(f"{source} does not fit {config_file}: {error}") from error
    write_converted(weights, model, source, target, whole=whole)


def convert_later(source: str, target: str, config_file: str, opts: list[str] = ()) -> None:
    """Write the weights of the later program's file ``source`` for the model of ``config_file``.

    Raises:
        ValueError: ``source`` is not of this model, or has other anchors.
    """
    read = read_pickled_module(source)
    try:
        detect = names.detect_layer(read.weights)
        check_anchors(read.weights[f"{detect}.anchors"], config_file, opts)
        anchors = read.weights[f"{detect}.anchors"].shape[1]
        outputs = len(read.weights.get(f"{detect}.m.0.bias", ()))
        model = build(config_file, opts, max(outputs // anchors - 5, 1))
        weights = names.convert_later(read.weights, model)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    write_converted(weights, model, source, target, class_names=read.class_names)


def check_anchors(found: torch.Tensor, config_file: str, opts: list[str]) -> None:
    """Refuse a file whose anchors, (maps, anchors, 2) in strides, are not those of the config.

    Raises:
        ValueError: names the key and its value.
    """
    generator = build(config_file, opts, 1).anchor_generator
    strides = torch.tensor(generator.strides, dtype=torch.float32)
    sizes = found * strides[: len(found), None, None]
    cfg = config(config_file, opts)
    wanted = [torch.tensor(x, dtype=torch.float32) for x in cfg.MODEL.ANCHOR_GENERATOR.SIZES]
    same = len(wanted) == len(sizes) and all(
        a.shape == b.shape and torch.allclose(a, b, rtol=2e-3)  # files may be in half precision
        for a, b in zip(wanted, sizes, strict=True)
    )
    if not same:
        written = [[[round(x, 2) for x in size] for size in level] for level in sizes.tolist()]
        raise ValueError(
            "its anchors are not those of the config, without which its boxes would be wrong. Set "
            f'MODEL.ANCHOR_GENERATOR.SIZES "{written}", here and in training'
        )


def config(config_file, opts):
    """The config, on no device."""
    cfg = get_bccd_cfg()
    merge_yaml(cfg, config_file)
    cfg.merge_from_list(list(opts))
    cfg.MODEL.DEVICE = "meta"
    return cfg


def build(config_file, opts, num_classes):
    """The model for a number of classes, without memory for its weights."""
    cfg = config(config_file, opts)
    cfg.MODEL.YOLOv3.NUM_CLASSES = num_classes
    with torch.device("meta"):
        return build_model(cfg)


def count_all(model):
    """Numbers of a Darknet file of the whole model."""
    return sum(names.count_numbers(names.ordered_convs(model)))


def model_eps(convs):
    """What the normalisation adds to the variance."""
    return convs[0][1].norm.eps


if __name__ == "__main__":
    sys.exit(main())
