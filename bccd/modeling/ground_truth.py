"""What every detector asks of the ground truth that it is trained with."""

import torch
from detectron2.structures import Instances
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence


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


def pad_ground_truth(
    instances: list[Instances], device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Ground truth of N images as two tensors on ``device``.

    Args:
        instances: with ``gt_boxes`` and ``gt_classes``; an image may have none.
        device: of the results.

    Returns:
        boxes (N, M, 4), XYXY, zeros for padding; classes (N, M) int64, -1 for padding. M is the
        largest number of boxes of an image.
    """
    boxes = pad_sequence([x.gt_boxes.tensor for x in instances], batch_first=True)
    classes = [x.gt_classes for x in instances]
    classes = pad_sequence(classes, batch_first=True, padding_value=-1)
    return boxes.to(device), classes.to(device)
