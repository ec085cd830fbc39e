"""Turn a checkpoint of the released YOLOv8 program into one of this project.

python tools/convert_yolov8.py yolov8n.pt output/yolov8n.pth
python train_net.py --config-file output/yolov8n.yaml --eval-only MODEL.WEIGHTS output/yolov8n.pth

Beside the weights it writes a config, with the size and the classes of the file. Detectors n, s, m,
l and x of any classes; no code of the file is run.
"""

import argparse
import pkgutil
import sys
from pathlib import Path

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

from bccd.config import get_bccd_cfg
from bccd.console import script
from bccd.engine.converted_module import convert_module

CONFIGS = Path(__file__).resolve().parents[1] / "configs/YOLOv8"


@script
def main(argv: list[str] | None = None) -> int:
    """Convert one file; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="checkpoint of the released program (.pt)")
    parser.add_argument("target", type=Path, help="file to write, for MODEL.WEIGHTS (.pth)")
    args = parser.parse_args(argv)
    config = convert(args.source, args.target)
    print(f"{args.target}: use it with --config-file {config} MODEL.WEIGHTS {args.target}")
    return 0


def convert(source: Path, target: Path) -> Path:
    """Write weights to ``target`` and their config beside it.

    Args:
        source: checkpoint of the released program.
        target: file to write.

    Returns:
        the config.

    Raises:
        ValueError: ``source`` is damaged or of another model.
    """
    get_bccd_cfg()  # finds the projects
    project = pkgutil.resolve_name("bccd.projects.yolov8.convert")

    def describe(converted):
        base = CONFIGS / f"yolov8{converted.size}_bccd.yaml"
        if not base.is_file():  # l and x
            base = CONFIGS / "yolov8n_bccd.yaml"
        factors = project.SIZES[converted.size]
        node = dict(zip(("DEPTH", "WIDTH", "MAX_CHANNELS"), factors, strict=True))
        return base, {"YOLOv8": {"NUM_CLASSES": converted.num_classes, **node}}

    return convert_module(source, target, project.convert_reference, describe)


if __name__ == "__main__":
    sys.exit(main())
