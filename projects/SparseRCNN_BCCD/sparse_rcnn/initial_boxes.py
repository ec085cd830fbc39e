"""Where learnt proposals start: MODEL.SparseRCNN.INIT_BOXES."""

import math

import torch


def _whole_image(count):
    return torch.tensor([0.5, 0.5, 1.0, 1.0]).expand(count, -1)


def _grid(count):
    """Boxes (count, 4) of a fifth of the image on the smallest square grid that has so many."""
    side = math.ceil(math.sqrt(count))
    # Spread over the whole grid where it has more places than there are boxes.
    index = torch.linspace(0, side * side - 1, count).round().long()
    centres = torch.stack([index % side, index // side], dim=1).add(0.5).div(side)
    return torch.cat([centres, torch.full((count, 2), 0.2)], dim=1)


INIT_BOXES = {"image": _whole_image, "grid": _grid}
