"""Names of the authors' weights in this implementation (github.com/chensnathan/YOLOF, MIT)."""

import re

from torch import Tensor

# What a name of theirs becomes, by the first expression that matches it; None: it is left out.
_NAMES = (
    (r"pixel_(mean|std)|anchor_generator\..*", None),  # of the config here
    (r"backbone\.(.*)", r"backbone.\1"),
    (r"encoder\.lateral_conv\.(.*)", r"head.encoder.lateral.\1"),
    (r"encoder\.lateral_norm\.(.*)", r"head.encoder.lateral.norm.\1"),
    (r"encoder\.fpn_conv\.(.*)", r"head.encoder.output.\1"),
    (r"encoder\.fpn_norm\.(.*)", r"head.encoder.output.norm.\1"),
    (r"encoder\.dilated_encoder_blocks\.(\d+\.conv\d)\.0\.(.*)", r"head.encoder.blocks.\1.\2"),
    (r"encoder\.dilated_encoder_blocks\.(\d+\.conv\d)\.1\.(.*)", r"head.encoder.blocks.\1.norm.\2"),
    (r"decoder\.((?:cls_score|bbox_pred|object_pred)\..*)", r"head.decoder.\1"),
)
_TOWERS = {"cls": "cls_tower", "bbox": "reg_tower"}


def convert_reference(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors' state dict with the names of :class:`YOLOF`.

    Args:
        weights: "model" of one of their checkpoints.

    Raises:
        ValueError: a name is none of theirs.
    """
    converted = {}
    for name, value in weights.items():
        new = _new_name(name)
        if new is not None:
            converted[new] = value
    return converted


def _new_name(name):
    # Their towers count convolutions, normalisations and activations.
    if match := re.fullmatch(r"decoder\.(cls|bbox)_subnet\.(\d+)\.(.*)", name):
        conv, part = divmod(int(match[2]), 3)
        return f"head.decoder.{_TOWERS[match[1]]}.{conv}.{'norm.' * part}{match[3]}"
    for pattern, new in _NAMES:
        if match := re.fullmatch(pattern, name):
            return None if new is None else match.expand(new)
    raise ValueError(f"{name} is no name of a weight of YOLOF's reference implementation")
