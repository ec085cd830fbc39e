"""What the caller of an exported detector needs to know; stored inside the file as strings."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bccd.export.magnification import EXPORTED_FIELDS, ONE_FIELD

if TYPE_CHECKING:
    from detectron2.config import CfgNode

    from bccd.export.detector import ExportableDetector

KEY = "bccd"
_MOST = 1e9  # of any number
_REMEDY = "export it again with bccd export"


@dataclasses.dataclass(frozen=True)
class Metadata:
    """Facts about an exported detector.

    Attributes:
        class_names (list[str]): by class index.
        thresholds (dict or None): score threshold per class name; None where the checkpoint had no
            operating points.
        channel_order (str): of the input, "BGR" or "RGB".
        fixed_size (list[int]): (height, width) of every input, or [].
        min_size, max_size (int): otherwise the shortest edge is resized to ``min_size``, or less
            where the longest would exceed ``max_size``; a ``min_size`` of 0 leaves images as are.
        pixel_mean, pixel_std (list[float]): in channel order; applied inside the model.
        max_detections (int): rows of the outputs.
        size_divisibility (int): what padded images' sides are multiples of; an .onnx file pads,
            the caller of a .pt2 package does.
        field_size (list[int]): (height, width) of the images it was trained on, before they were
            resized, or [].
        min_side (int): the least height and width of images; of a .pt2 package, once padded.
        source (str): the weights that were exported.
        precision (str): "fp32" or "int8".
        calibration (dict or None): of int8: "dataset" and the number of "images" from it.
        counting_thresholds (dict or None): COUNTING.THRESHOLDS by class name.
        count_intervals (dict or None): COUNTING.INTERVALS, see ``CountIntervals``.
        red_cell_diameter (float): in pixels of these images; 0: unknown.
        expected_diameter (float): COUNTING.EXPECTED_DIAMETER.
        fields_at_once (float): see :class:`bccd.export.magnification.Magnification`.
        class_colors (list[list[int]]): RGB, 0-255, by class index; []: the usual ones.
    """

    class_names: list
    thresholds: dict | None
    channel_order: str
    fixed_size: list
    min_size: int
    max_size: int
    pixel_mean: list
    pixel_std: list
    max_detections: int
    size_divisibility: int
    min_side: int
    source: str
    precision: str = "fp32"
    calibration: dict | None = None
    field_size: list = dataclasses.field(default_factory=lambda: [480, 640])  # as INPUT.FIELD_SIZE
    class_colors: list = dataclasses.field(default_factory=list)
    red_cell_diameter: float = 0.0
    fields_at_once: float = ONE_FIELD
    counting_thresholds: dict | None = None
    expected_diameter: float = 0.0
    count_intervals: dict | None = None

    @classmethod
    def build(
        cls, cfg: "CfgNode", thresholds: dict[str, float] | None, detector: "ExportableDetector"
    ) -> "Metadata":
        """From a config, operating points ({class name: score}) and exportable detector."""
        # They need Detectron2, as a config does.
        from bccd.data.records import model_class_names
        from bccd.evaluation.operating_point import configured_thresholds
        from bccd.modeling.capabilities import has_fixed_number

        class_names = list(model_class_names(cfg))

        return cls(
            class_names=class_names,
            class_colors=[list(color) for color in cfg.MODEL.CLASS_COLORS],
            thresholds=thresholds,
            channel_order=cfg.INPUT.FORMAT,
            fixed_size=list(cfg.INPUT.FIXED_SIZE),
            min_size=cfg.INPUT.MIN_SIZE_TEST,
            max_size=cfg.INPUT.MAX_SIZE_TEST,
            pixel_mean=list(cfg.MODEL.PIXEL_MEAN),
            pixel_std=list(cfg.MODEL.PIXEL_STD),
            max_detections=detector.max_detections,
            size_divisibility=detector.size_divisibility,
            min_side=min(cfg.INPUT.FIXED_SIZE, default=detector.min_side),
            source=cfg.MODEL.WEIGHTS,
            field_size=list(cfg.INPUT.FIELD_SIZE),
            counting_thresholds=configured_thresholds(
                list(cfg.COUNTING.THRESHOLDS), class_names, "COUNTING.THRESHOLDS"
            ),
            count_intervals={k.lower(): list(v) for k, v in cfg.COUNTING.INTERVALS.items()},
            red_cell_diameter=float(cfg.COUNTING.RED_CELL_DIAMETER),
            expected_diameter=float(cfg.COUNTING.EXPECTED_DIAMETER),
            fields_at_once=ONE_FIELD if has_fixed_number(detector.model) else EXPORTED_FIELDS,
        )

    def to_strings(self) -> dict[str, str]:
        """As a dict of one string, which any format of file can hold."""
        return {KEY: json.dumps(dataclasses.asdict(self))}

    @classmethod
    def from_strings(cls, strings: Mapping[str, str], path: str | Path) -> "Metadata":
        """What :meth:`to_strings` gave.

        Raises:
            ValueError: ``path``, where the strings come from, was not written by this project, or
                by another version of it.
        """
        if KEY not in strings:
            raise ValueError(f"{path} has no metadata of this project; export it with bccd export")
        try:
            found = cls(**json.loads(strings[KEY]))
        except TypeError as error:
            raise ValueError(
                f"{path} was written by another version of this project; export it again with "
                "bccd export"
            ) from error
        except ValueError as error:
            raise ValueError(f"the metadata of {path} is damaged ({error}); {_REMEDY}") from error
        if wrong := [name for name, is_right in _FORMS.items() if not is_right(found)]:
            name = wrong[0]
            value = repr(getattr(found, name))[:80]
            raise ValueError(f"the metadata of {path} is damaged: {name} is {value}; {_REMEDY}")
        return found


def _is_number(value):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value < _MOST


def _are(items, is_right: Callable[[object], bool]):
    return isinstance(items, list) and all(map(is_right, items))


def _of(name: str, is_right: Callable[[object], bool]) -> Callable[[Metadata], bool]:
    return lambda metadata: is_right(getattr(metadata, name))


def _scores(name: str) -> Callable[[Metadata], bool]:
    """None, or a score for every class."""

    def is_right(metadata):
        scores = getattr(metadata, name)
        if scores is None:
            return True
        is_dict = isinstance(scores, dict) and set(metadata.class_names) <= scores.keys()
        return is_dict and all(_is_number(score) and score <= 1 for score in scores.values())

    return is_right


def _is_size(value):
    sides = _are(value, lambda side: isinstance(side, int) and _is_number(side) and side > 0)
    return sides and len(value) in (0, 2)


def _are_intervals(value):
    """None, or lists of finite numbers, and names of data sets."""
    if value is None:
        return True
    return isinstance(value, dict) and all(
        _are(items, (lambda x: isinstance(x, str)) if name == "datasets" else _is_finite)
        for name, items in value.items()
    )


def _is_finite(value):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _MOST


def _are_colors(value):
    return _are(value, lambda color: _are(color, lambda x: _is_number(x) and x < 256))


# What each value must be. A file that was damaged or made by hand is refused here, by name.
_FORMS: dict[str, Callable[[Metadata], bool]] = {
    "class_names": _of("class_names", lambda v: bool(v) and _are(v, lambda n: isinstance(n, str))),
    **{name: _scores(name) for name in ("thresholds", "counting_thresholds")},
    "channel_order": _of("channel_order", lambda value: value in ("BGR", "RGB")),
    **{name: _of(name, _is_size) for name in ("fixed_size", "field_size")},
    **{
        name: _of(name, lambda value: isinstance(value, int) and _is_number(value))
        for name in ("min_size", "max_size", "max_detections", "size_divisibility", "min_side")
    },
    **{name: _of(name, lambda v: _are(v, _is_finite)) for name in ("pixel_mean", "pixel_std")},
    **{
        name: _of(name, _is_number)
        for name in ("red_cell_diameter", "expected_diameter", "fields_at_once")
    },
    "count_intervals": _of("count_intervals", _are_intervals),
    "class_colors": _of("class_colors", _are_colors),
}
