"""Turn torchvision's ImageNet weights of VGG-16 into weights that SSD starts from.

python -c "import torchvision; torchvision.models.vgg16(weights='DEFAULT')"  # downloads them
python tools/convert_vgg16.py ~/.cache/torch/hub/checkpoints/vgg16-397923af.pth vgg16_ssd.pth
"""

import argparse

import bccd.openmp  # noqa: F401  (before PyTorch is loaded)

import torch

from bccd.modeling.backbones.vgg import convert_torchvision_vgg16


def main() -> None:
    """Convert one file; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="state dict of torchvision.models.vgg16 (.pth)")
    parser.add_argument("target", help="file to write, for MODEL.WEIGHTS")
    args = parser.parse_args()
    weights = convert_torchvision_vgg16(torch.load(args.source, weights_only=True))
    torch.save({"model": {f"backbone.{k}": v for k, v in weights.items()}}, args.target)
    print(f"{args.target}: {len(weights)} tensors; train with MODEL.WEIGHTS {args.target}")


if __name__ == "__main__":
    main()
