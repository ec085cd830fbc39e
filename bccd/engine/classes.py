"""The classes of a model: from a data set or a checkpoint into its config, and their agreement.

A meta-architecture names the config key of its number of classes in the class attribute
``num_classes_key``, for example "MODEL.SSD.NUM_CLASSES"; those of Detectron2 are known here. The
key is then set to the number of MODEL.CLASS_NAMES wherever these are known, whatever a yaml says.
"""

from collections.abc import Sequence

from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN, RetinaNet
from torch import nn

from bccd.data.classes import class_colors
from bccd.data.records import model_class_names

_DETECTRON2 = {
    RetinaNet: "MODEL.RETINANET.NUM_CLASSES",
    GeneralizedRCNN: "MODEL.ROI_HEADS.NUM_CLASSES",
}


def num_classes_key(cfg: CfgNode) -> str | None:
    """The config key of the number of classes of MODEL.META_ARCHITECTURE; None where unknown."""
    architecture = META_ARCH_REGISTRY.get(cfg.MODEL.META_ARCHITECTURE)
    key = getattr(architecture, "num_classes_key", None)
    if key is None and isinstance(architecture, type):
        known = (k for base, k in _DETECTRON2.items() if issubclass(architecture, base))
        key = next(known, None)
    return key


def set_classes(cfg: CfgNode, names: Sequence[str], colors: Sequence | None = None) -> None:
    """Write the classes of the model into ``cfg``, which is not frozen, and their number.

    Args:
        cfg: changed.
        names: of the K classes.
        colors: RGB, 0-255, of each; None or the default ones leave MODEL.CLASS_COLORS empty.

    Raises:
        ValueError: ``colors`` are not K colours.
    """
    chosen = class_colors(names, colors)
    cfg.MODEL.CLASS_NAMES = tuple(names)
    cfg.MODEL.CLASS_COLORS = () if chosen == class_colors(names) else chosen
    if key := num_classes_key(cfg):
        cfg.merge_from_list([key, len(names)])


def with_training_classes(cfg: CfgNode) -> CfgNode:
    """A copy of ``cfg``, not frozen, whose model has the classes of the training.

    These are MODEL.CLASS_NAMES or, where that is empty, those of the first of DATASETS.TRAIN. Where
    neither names any, nothing changes.

    Raises:
        ValueError: the names or colours cannot be used.
    """
    cfg = cfg.clone()
    cfg.defrost()
    if names := model_class_names(cfg):
        colors = cfg.MODEL.CLASS_COLORS
        if not colors and not cfg.MODEL.CLASS_NAMES:
            colors = MetadataCatalog.get(cfg.DATASETS.TRAIN[0]).get("thing_colors")
        set_classes(cfg, names, colors)
    return cfg


def count_model_classes(model: nn.Module) -> int | None:
    """``num_classes`` of the model, or of the first module inside it that has one; else None."""
    for module in model.modules():
        if isinstance(getattr(module, "num_classes", None), int):
            return module.num_classes
    return None


def check_class_count(model: nn.Module, class_names: Sequence[str]) -> None:
    """Compare the model's number of classes with that of their names.

    Raises:
        ValueError: they differ, or the names are not known.
    """
    predicted = count_model_classes(model)
    if not class_names:
        raise ValueError(
            f"the model predicts {predicted or 'some'} classes, which neither its checkpoint nor "
            "the config names: set MODEL.CLASS_NAMES"
        )
    if predicted not in (None, len(class_names)):
        raise ValueError(
            f"the model predicts {predicted} classes; expected {len(class_names)}, "
            f"{', '.join(class_names)}: set NUM_CLASSES of the model's config node to "
            f"{len(class_names)}, or num_classes_key of its meta-architecture to the name of that "
            "key"
        )
