"""Counting in one image that is in memory."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bccd.counting.area import CountedArea
from bccd.counting.border import Border, keep_by_border
from bccd.counting.count_notes import (
    full_notes,
    grey_notes,
    pixel_size_notes,
    scale_notes,
    size_notes,
)
from bccd.counting.field import FieldDetector, Scale, agree
from bccd.counting.field_info import UNKNOWN, FieldInfo
from bccd.counting.image_errors import ImageError
from bccd.counting.image_quality import ImageQuality
from bccd.counting.load import ImagePredictor
from bccd.counting.pictures import BLANK
from bccd.counting.regions.region import Region
from bccd.counting.result import CountResult
from bccd.counting.thresholds import thresholds_by_class
from bccd.counting.trust import Doubts, Trust
from bccd.detections import Detections


class ImageCounter:
    """What :class:`bccd.counting.counter.CellCounter` does with the pixels of an image.

    Attributes: those of ``CellCounter``.
    """

    def __init__(
        self,
        predictor: ImagePredictor,
        thresholds: float | Mapping[str, float] | None,
        red_cell_diameter: float | None,
        micrometres_per_pixel: float | None,
        border: Border,
    ) -> None:
        """``predictor``: detects; other arguments as of ``CellCounter``."""
        if red_cell_diameter is not None and not 0 < red_cell_diameter < math.inf:
            raise ValueError(f"a diameter of {red_cell_diameter} pixels: expected more than 0")
        self.micrometres_per_pixel = micrometres_per_pixel
        if micrometres_per_pixel is not None and not 0 < micrometres_per_pixel < math.inf:
            raise ValueError(f"{micrometres_per_pixel} micrometres: expected more than 0")
        self.predictor = predictor
        self.class_names = tuple(predictor.class_names)
        stored = predictor.operating_points
        if predictor.magnification is not None:
            stored = predictor.counting_thresholds or stored
        self.thresholds = thresholds_by_class(self.class_names, stored, thresholds)
        self.class_colors = tuple(predictor.class_colors)
        colors = {n: list(c) for n, c in zip(self.class_names, self.class_colors, strict=True)}
        self.settings = {
            "model": predictor.identity,
            "threshold": self.thresholds,
            "border": border,
            "color": colors,
        }
        if micrometres_per_pixel is not None:
            self.settings["micrometres_per_pixel"] = micrometres_per_pixel
        self.border = border
        self._lowest_scores = np.array(list(self.thresholds.values()), dtype=np.float32)
        self.field = self.intervals = None
        if predictor.magnification is not None:
            scores = list(self.thresholds.values())
            known = red_cell_diameter, micrometres_per_pixel
            self.field = FieldDetector(predictor, scores, *known)
            self.settings["red_cell_diameter"] = red_cell_diameter
            self._trust = Trust(
                predictor.magnification,
                self.thresholds,
                predictor.count_intervals,
                looks_at_pixels=bool(predictor.field_size),
            )
            self.intervals = self._trust.intervals
            self.settings["count_intervals"] = self.intervals and self.intervals.to_dict()
        elif red_cell_diameter is not None:
            raise ValueError(
                "the diameter of red cells is of no use: the detector has none, or its config does "
                "not say at which magnification it was trained (COUNTING.RED_CELL_DIAMETER)"
            )

    def prepare(self, image: np.ndarray, info: FieldInfo = UNKNOWN) -> Any:
        """What :meth:`detect` takes, of a uint8 BGR array (H, W, 3); may run in another thread."""
        if self.field is not None:
            return self.field.prepare(image, info.micrometres_per_pixel)
        return self.predictor.prepare(image)

    def detect(self, image: np.ndarray, inputs: Any, info: FieldInfo = UNKNOWN) -> CountResult:
        """Count in a uint8 BGR array (H, W, 3), of which ``inputs`` were prepared."""
        return self.detect_all(image, inputs, info)[0]

    def detect_all(
        self, image: np.ndarray, inputs: Any, info: FieldInfo = UNKNOWN
    ) -> tuple[CountResult, Detections]:
        """As :meth:`detect`, with all detections, whatever their place and scores."""
        stated = info.micrometres_per_pixel
        if self.field is None:
            found, scale, beyond = self._detect_as_trained(image, inputs)
            doubts = Doubts([], beyond)
        else:
            found, scale, is_full = self.field.detect(image, inputs, stated)
            notes = scale_notes(scale) + pixel_size_notes(scale, stated)
            doubts = Doubts(notes, full_notes() if is_full else [])
        if self.predictor.field_size:
            doubts.beyond.extend(grey_notes(image))
        # Detections that do not count, too, say how sure the count is.
        everywhere, found = found, self.within(found, scale, info.region)
        counts = self.is_counted(found)
        area, intervals = self._area(image.shape[:2], scale, info), None
        if scale is not None:
            intervals = self._trust.judge(image, found, counts, scale, area.pixels, doubts)
        counted = found[counts]
        result = CountResult(
            class_names=self.class_names,
            class_colors=self.class_colors,
            size=image.shape[:2],
            scale=scale,
            boxes=counted.boxes,
            scores=counted.scores,
            classes=counted.classes,
            intervals=intervals,
            notes=(*doubts.notes, *doubts.beyond),
            area=area,
            region=info.region,
        )
        return result, everywhere

    def within(self, found: Detections, scale: Scale | None, region: Region | None) -> Detections:
        """Those of an image's detections that count by their place: border and region."""
        found = keep_by_border(found, self.border, scale.diameter if scale else None)
        return found if region is None else found[region.contains(found.centres)]

    def is_counted(self, found: Detections) -> np.ndarray:
        """Which detections count by their score: mask (P,)."""
        return found.scores >= self._lowest_scores[found.classes]

    def _area(self, size, scale, info):
        height, width = size
        pixels = height * width
        if info.region is not None:
            pixels = round(info.region.area_in((0, 0, width, height)))
        return CountedArea(pixels, self.trusted_pixel_size(scale, info.micrometres_per_pixel))

    def trusted_pixel_size(self, scale: Scale | None, stated: float | None) -> float | None:
        """Micrometres per pixel: as given, or as ``stated`` by the file if the cells agree."""
        if self.micrometres_per_pixel is not None:
            return self.micrometres_per_pixel
        return stated if stated and (scale is None or agree(scale, stated)) else None

    def quality_of(self, tile: np.ndarray) -> ImageQuality | None:
        """Sharpness and exposure of a uint8 BGR tile (h, w, 3) as the detector sees it.

        None where the detector is not for photographs.
        """
        return self._trust.quality_of(tile)

    def find_all(self, image: np.ndarray) -> tuple[Detections, float]:
        """All detections, whatever their scores, and the diameter of red cells.

        Args:
            image: uint8 BGR array (H, W, 3).

        Raises:
            ValueError: the detector does not know its magnification.
        """
        if self.field is None:
            raise ValueError("COUNTING.RED_CELL_DIAMETER is 0: the model counts images as they are")
        found, scale, _ = self.field.detect(image, self.field.prepare(image))
        return found, scale.diameter

    def _detect_as_trained(self, image, inputs):
        """Detections, no scale, and notes, of an image that is resized as in testing."""
        found = self.predictor.detect(inputs)
        notes = size_notes(image.shape[:2], self.predictor.field_size)
        most = self.predictor.max_detections
        # Below the lowest threshold, what the limit cut off would not have counted.
        if most and len(found) >= most and found.scores.min() >= self._lowest_scores.min():
            notes += full_notes(most)
        return found, None, notes

    def check(self) -> None:
        """Count in a blank field; raises what is wrong with the detector itself."""
        self.detect(BLANK, self.prepare(BLANK))

    def failed(self, error: ImageError) -> CountResult:
        """The result of an image that could not be counted."""
        return CountResult(
            class_names=self.class_names,
            class_colors=self.class_colors,
            size=None,
            boxes=np.empty((0, 4), np.float32),
            scores=np.empty(0, np.float32),
            classes=np.empty(0, np.int64),
            status=str(error),
        )
