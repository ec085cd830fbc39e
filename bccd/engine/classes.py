"""Agreement between a model's classes and a checkpoint's; a data set's: ``bccd.data.records``."""

import re

from bccd.data.classes import CLASS_NAMES


def count_model_classes(model):
    """``num_classes`` of the model, or of the first module inside it that has one; else None."""
    for module in model.modules():
        if isinstance(getattr(module, "num_classes", None), int):
            return module.num_classes
    return None


def check_class_count(model):
    """Compare the model's number of classes with that of CLASS_NAMES.

    Raises:
        ValueError: they differ.
    """
    predicted = count_model_classes(model)
    if predicted not in (None, len(CLASS_NAMES)):
        raise ValueError(
            f"the model predicts {predicted} classes; expected {len(CLASS_NAMES)}, "
            f"{', '.join(CLASS_NAMES)}: set NUM_CLASSES of the model's config node to "
            f"{len(CLASS_NAMES)}"
        )


def describe_mismatches(incorrect_shapes, num_classes):
    """A line for each tensor of a checkpoint whose shape is not the model's.

    Args:
        incorrect_shapes: sequence of (key, shape in the checkpoint, shape in the model).
        num_classes (int or None): of the model; names both class counts for class layers.

    Returns:
        str.
    """
    lines = []
    for key, found, expected in incorrect_shapes:
        line = f"  {key}: {tuple(found)} in the checkpoint, {tuple(expected)} in the model"
        if num_classes and (classes := _checkpoint_classes(key, found, expected, num_classes)):
            line += f" ({classes} classes in the checkpoint, {num_classes} in the model)"
        lines.append(line)
    return "\n".join(lines)


def _checkpoint_classes(key, found, expected, num_classes):
    """Classes of a class layer with one row per (anchor and) class; None if it is not one."""
    if not re.search("cls|class|logits|score", key) or tuple(found[1:]) != tuple(expected[1:]):
        return None
    for background in (0, 1):
        anchors, rest = divmod(expected[0], num_classes + background)
        if anchors and not rest and not found[0] % anchors:
            return found[0] // anchors - background
    return None
