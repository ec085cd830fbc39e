"""What every detector asks of the ground truth that it is trained with."""

import torch
from detectron2.structures import Instances


def check_classes(instances: list[Instances], num_classes: int, key: str) -> None:
    """Refuse a class that the model does not have, which a loss could take for background.

    Args:
        instances: with ``gt_classes``, on the host: nothing waits for a device.
        num_classes: K.
        key: config key of K, for the message.

    Raises:
        ValueError: a class is not in [0, K).
    """
    classes = torch.cat([truth.gt_classes for truth in instances])
    wrong = classes[(classes < 0) | (classes >= num_classes)]
    if len(wrong):
        raise ValueError(
            f"a ground-truth box has class {wrong[0]}, but {key} is {num_classes}: set it to the "
            "number of classes of DATASETS.TRAIN"
        )
