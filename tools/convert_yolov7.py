"""Turn a checkpoint of YOLOv7's authors (github.com/WongKinYiu/yolov7) into one of this project.

python tools/convert_yolov7.py yolov7.pt output/yolov7.pth
python train_net.py --config-file output/yolov7.yaml --eval-only MODEL.WEIGHTS output/yolov7.pth

Beside the weights it writes a config, with the anchors and the classes of the file. YOLOv7 and
YOLOv7-tiny of any classes; no code of the file is run.
"""

import argparse
import pkgutil
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.config import get_bccd_cfg
from bccd.console import script
from bccd.engine.converted_module import convert_module

CONFIGS = Path(__file__).resolve().parents[1] / "configs/YOLOv7"
FORMS = {"yolov7": CONFIGS / "yolov7_bccd.yaml", "tiny": CONFIGS / "yolov7_tiny_bccd.yaml"}


@script
def main(argv: list[str] | None = None) -> int:
    """Convert one file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="checkpoint of the authors' program (.pt)")
    parser.add_argument("target", type=Path, help="file to write, for MODEL.WEIGHTS (.pth)")
    parser.add_argument(
        "--activation", help="silu or leaky_relu; default: that of the published form"
    )
    args = parser.parse_args(argv)
    config = convert(args.source, args.target, args.activation)
    print(f"{args.target}: use it with --config-file {config} MODEL.WEIGHTS {args.target}")
    return 0


def convert(source: Path, target: Path, activation: str | None = None) -> Path:
    """Write weights to ``target`` and their config beside it.

    Args:
        source: checkpoint of the authors' program.
        target: file to write.
        activation: of all convolutions; None: that of the published form.

    Returns:
        the config.

    Raises:
        ValueError: ``source`` is damaged or of another model.
    """
    get_bccd_cfg()  # finds the projects
    convert_reference = pkgutil.resolve_name("bccd.projects.yolov7.convert:convert_reference")

    def describe(converted):
        node = {"NUM_CLASSES": converted.num_classes}
        if activation is not None:
            node["ACTIVATION"] = activation
        sizes = {"SIZES": converted.anchors.tolist()}
        return FORMS[converted.form], {"ANCHOR_GENERATOR": sizes, "YOLOv7": node}

    return convert_module(source, target, convert_reference, describe)


if __name__ == "__main__":
    sys.exit(main())
