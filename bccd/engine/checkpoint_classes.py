"""Classes of a model in its checkpoints: written, compared, and trained anew where they changed."""

import re
from collections.abc import Mapping, Sequence

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from bccd.data import bccd_classes
from bccd.data.classes import same_classes
from bccd.data.records import model_class_names
from bccd.engine.classes import num_classes_key


class CheckpointClasses:
    """The classes of a model, for a checkpointer of it."""

    def __init__(self, cfg: CfgNode, model: nn.Module) -> None:
        """``model`` was built from ``cfg``, whose MODEL.CLASS_NAMES may be empty when training."""
        self._cfg, self._model = cfg, model
        self.names = model_class_names(cfg)

    def state(self) -> dict:
        """What a checkpoint holds of them: names and, unless they are the usual ones, colours."""
        colors = [list(color) for color in self._cfg.MODEL.CLASS_COLORS]
        state = {"class_names": list(self.names), "class_colors": colors}
        return {key: value for key, value in state.items() if value}

    def differ(self, checkpoint: dict) -> bool:
        """Whether a checkpoint names other classes, or the same in another order."""
        found = class_names_in(checkpoint, len(self.names))
        return bool(self.names) and found is not None and not same_classes(found, self.names)

    def require_same(self, checkpoint: dict) -> None:
        """Raise ValueError where :meth:`differ`."""
        if self.differ(checkpoint):
            found = class_names_in(checkpoint, len(self.names))
            raise ValueError(
                f"the checkpoint is of the classes {', '.join(found)}; expected "
                f"{', '.join(self.names)}, in this order: those of MODEL.CLASS_NAMES or, where "
                "that is empty, of DATASETS.TRAIN. Use the config that it was trained with"
            )

    def find_tensors(self, checkpoint: dict) -> set[str]:
        """Names of the model's tensors whose shape depends on the number of classes.

        Found by building the model for one class more and, as layers may be wider for many, for
        the classes that ``checkpoint`` names; where the config key of the number is unknown, none.
        """
        key = num_classes_key(self._cfg)
        if not self.names or key is None:
            return set()
        counts = {len(self.names) + 1, len(class_names_in(checkpoint, None) or self.names)}
        return set().union(*(self._differing(key, n) for n in counts - {len(self.names)}))

    def _differing(self, key, count):
        other = self._cfg.clone()
        other.defrost()
        other.MODEL.DEVICE = "cpu"
        other.merge_from_list([key, count])
        with torch.random.fork_rng(devices=[]):  # as if it had not been built
            shapes = {k: v.shape for k, v in build_model(other).state_dict().items()}
        state = self._model.state_dict()
        return {k for k, v in state.items() if k in shapes and v.shape != shapes[k]}

    def describe_change(
        self, checkpoint: dict, incorrect_shapes: Sequence[tuple], anew: set[str]
    ) -> str:
        """A sentence on the tensors ``anew``, which a file of other classes does not give.

        Args:
            checkpoint: the file's content, with or without weights.
            incorrect_shapes: as :func:`describe_mismatches`.
            anew: their names.
        """
        counts = (_checkpoint_classes(*each, len(self.names)) for each in incorrect_shapes)
        count = next(filter(None, counts), len(self.names))
        found = class_names_in(checkpoint, count) or (f"{count} classes without names",)
        return (
            f"The checkpoint was trained for {', '.join(found)}; this model is for "
            f"{', '.join(self.names)}. The layers of the classes are initialised anew, everything "
            f"else is loaded: {', '.join(sorted(anew))}"
        )


def class_names_in(checkpoint: dict, num_classes: int | None) -> tuple[str, ...] | None:
    """Names of the classes of a checkpoint, in its order; None where it does not name them.

    Args:
        checkpoint: its content, with or without weights. One that was written before checkpoints
            had ``class_names`` has operating points of its classes; one without either, and with
            three classes, is BCCD's.
        num_classes: K of the model that its weights fit; None: unknown.
    """
    names = checkpoint.get("class_names") or checkpoint.get("operating_points")
    if names:
        return tuple(names)
    return bccd_classes.CLASS_NAMES if num_classes == len(bccd_classes.CLASS_NAMES) else None


def check_about_classes(checkpoint: dict, path: str) -> None:
    """Raise ValueError where what a checkpoint ``path`` says of its classes cannot be used."""
    names, points = checkpoint.get("class_names"), checkpoint.get("operating_points")
    wrong = None
    if names is not None and not (_is_list(names) and all(isinstance(n, str) for n in names)):
        wrong = "class_names"
    elif points is not None and not (
        isinstance(points, dict) and all(map(_is_point, points, points.values()))
    ):
        wrong = "operating_points"
    elif not isinstance(checkpoint["model"], Mapping) or not all(
        isinstance(name, str) for name in checkpoint["model"]
    ):
        wrong = "model"
    if wrong:
        raise ValueError(
            f"{path} cannot be read as a checkpoint: its {wrong} is damaged. Download or save it "
            "again, or use another"
        )


def _is_list(value):
    return isinstance(value, list | tuple)


def _is_point(name, point):
    """Whether an entry of ``operating_points`` is a class with its threshold."""
    score = point.get("threshold") if isinstance(point, Mapping) else point
    is_number = isinstance(score, int | float) and not isinstance(score, bool)
    return isinstance(name, str) and (score is None or is_number)


def describe_mismatches(incorrect_shapes: Sequence[tuple], num_classes: int | None) -> str:
    """A line for each tensor of a checkpoint whose shape is not the model's.

    Args:
        incorrect_shapes: (key, shape in the checkpoint, shape in the model) of each.
        num_classes: of the model; names both class counts for class layers. None: unknown.
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
