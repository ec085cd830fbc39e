"""Options that only a loss with a sigmoid for each class can honour."""

from detectron2.config import CfgNode


def refuse_sigmoid_options(cfg: CfgNode, node: str, needed: str) -> None:
    """Refuse options that have no effect where the scores of a box are a softmax over the classes.

    Args:
        cfg: see ``bccd.config``.
        node: the detector's below MODEL.
        needed: key and value that the options need, for the message.

    Raises:
        ValueError: one of them is set; names its key.
    """
    values = {
        f"MODEL.{node}.QUALITY_SCORES": cfg.MODEL[node].QUALITY_SCORES,
        "MODEL.MISSING_LABELS.ENABLED": cfg.MODEL.MISSING_LABELS.ENABLED,
        "INPUT.UNLABELLED_IF_ABSENT": cfg.INPUT.UNLABELLED_IF_ABSENT,
    }
    for key, value in values.items():
        if value:
            raise ValueError(
                f"{key} is {value!r}, which has no effect without {needed}: set it to "
                f"{type(value)()!r}, or {needed}"
            )
