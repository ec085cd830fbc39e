"""What a detector may offer beyond Detectron2's model contract.

Everything here is optional. It is looked up on the model, its class or a module inside it, so that
no code outside of ``projects/`` asks which detector it has. Implementations are named as
``"module:attribute"`` and loaded when they are used: training needs no exporter.
"""

import pkgutil
from typing import Any, ClassVar, Protocol

from detectron2.config import CfgNode
from torch import nn
from torch.optim import Optimizer

from bccd.modeling.places import LearningPlaces

BenchmarkPart = tuple[str, tuple[str, ...], str]


class DetectorCapabilities(Protocol):
    """Attributes of a meta-architecture.

    Attributes:
        num_classes_key: the config key of the number of classes, for messages and for data with
            other classes.
        exportable_form: names a subclass of :class:`bccd.export.detector.ExportableDetector`.
        benchmark_parts: what the benchmark tells apart, besides what every detector has: (regular
            expression of a module's path, names of its methods, name of the part). Groups of the
            expression may be used in the name. See ``bccd.benchmark.split``.
        reference: names a module with the interface of :class:`ReferenceImplementation`.
        learning_places: of an instance, a method: inputs of a training to one
            :class:`bccd.modeling.places.LearningPlaces` for each image, by the assignment that it
            trains with.
        capacity: of an instance, 1.0 at first; multiplies the number of detections in an image, for
            images that show more than those of the training.
        fixed_number: as many proposals are made for an image that shows less than those of the
            training, where they crowd on its few objects; without it, whether there is no
            ``capacity``.
    """

    num_classes_key: ClassVar[str]
    exportable_form: ClassVar[str]
    benchmark_parts: ClassVar[tuple[BenchmarkPart, ...]]
    reference: ClassVar[str]
    capacity: float
    fixed_number: ClassVar[bool]

    def learning_places(self, batched_inputs: list[dict]) -> list[LearningPlaces]:
        """Which places learn which ground truth; without gradient."""


class Foldable(Protocol):
    """A module that can be replaced by fewer operations once it is trained."""

    def fold(self) -> None:
        """Do so in place; outputs in eval mode stay, to rounding.

        Batch normalisation inside of it is part of its convolutions already
        (:func:`bccd.modeling.fast_inference.prepare.fold_normalization`).
        """


class Recomputable(Protocol):
    """A backbone that knows how to keep less for the backward pass.

    Attributes:
        recompute: set to True for MODEL.ACTIVATION_CHECKPOINTING. The stages of Detectron2's
            ResNets need no such attribute, see ``bccd.modeling.activation_checkpointing``.
    """

    recompute: bool


class ReferenceImplementation(Protocol):
    """An implementation of the same detector that ours is timed against; a module.

    Attributes:
        OPTIONS: KEY, VALUE, ... of what both sides need to compute the same.
    """

    OPTIONS: list[str]

    def build_model(self, cfg: CfgNode) -> nn.Module:
        """The model, whose state dict has the names of ours."""

    def build_optimizer(self, cfg: CfgNode, model: nn.Module) -> Optimizer:
        """The optimizer that it is trained with."""


def has_fixed_number(model: nn.Module) -> bool:
    """Whether a model makes as many proposals for an image that shows little."""
    return getattr(model, "fixed_number", not hasattr(model, "capacity"))


def load_offered(detector: nn.Module | type[nn.Module], attribute: str) -> Any | None:
    """What ``detector``, a model or its class, names in ``attribute``; None where it names none."""
    name = getattr(detector, attribute, None)
    return None if name is None else pkgutil.resolve_name(name)
