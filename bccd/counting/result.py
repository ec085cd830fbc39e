"""What was counted in one image."""

import dataclasses
import os
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, PngImagePlugin

from bccd.counting.area import CountedArea
from bccd.counting.coco_file import to_annotation, to_categories
from bccd.counting.count_table import COUNTED
from bccd.counting.detection_files import Found
from bccd.counting.field import Scale
from bccd.counting.image_errors import ImageError
from bccd.counting.intervals import Interval
from bccd.counting.pictures import draw_result, title_of
from bccd.counting.regions.region import Region
from bccd.data.classes import Color
from bccd.data.images.decoding import read_rgb
from bccd.data.images.image_source import ImageSource
from bccd.data.images.own_pictures import SOFTWARE
from bccd.visualization.drawing import count_classes


@dataclasses.dataclass(frozen=True, eq=False)
class CountResult:
    """What was counted in one image.

    Attributes:
        class_names: names of the K classes.
        class_colors: RGB, 0-255, of each in pictures.
        size: (height, width) of the image in pixels; None where it could not be read.
        boxes: (P, 4) float32, corners x1, y1, x2, y2 in pixels of the image.
        scores: (P,) float32 in [0, 1].
        classes: (P,) int64, indices of ``class_names``.
        intervals: {class name: (least, largest number of cells)}, which hold the true numbers of
            95% of images, see ``bccd.counting.intervals``; None: the detector has none, or the
            notes say what no interval accounts for.
        notes: sentences, why the counts should not be trusted; empty: no reason is known.
        file: the path that the image was read from (``smear.tif#2`` is a second page); None where
            it was given as an array or PIL image.
        status: ``"ok"``, or why the image could not be counted. Only :meth:`CellCounter.stream`
            gives results that are not ok.
        scale: ``diameter`` of the red cells, in pixels of the image, and its ``source``: "given",
            "file" (of the size of a pixel that it states), "measured", "uncertain" (measured on few
            cells) or "assumed" (no red cell was found). None: the detector does not know at which
            magnification it was trained.
        area: ``pixels`` in which cells were counted, ``micrometres_per_pixel`` and ``mm2``, which
            are None where the size of a pixel is unknown. None: the image could not be counted.
        region: of interest, in which they were counted; None: all of the image.
    """

    class_names: tuple[str, ...]
    class_colors: tuple[Color, ...]
    size: tuple[int, int] | None
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    intervals: dict[str, Interval] | None = None
    notes: tuple[str, ...] = ()
    file: str | None = None
    status: str = COUNTED
    scale: Scale | None = None
    area: CountedArea | None = None
    region: Region | None = None
    _image: ImageSource | str | np.ndarray | None = dataclasses.field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether the image could be counted."""
        return self.status == COUNTED

    @property
    def counts(self) -> dict[str, int]:
        """Number of cells of each class, in the order of ``class_names``.

        Raises:
            ImageError: the image could not be counted.
        """
        self._require_ok()
        return count_classes(self.classes, self.class_names)

    def draw(
        self, *, title: str | None = None, scores: bool = True, labels: bool = True
    ) -> Image.Image:
        """The image with its cells in boxes, and the counts in a strip below.

        A file is read again: a result does not hold its pixels. PNG files that the picture is saved
        as are known to this project, and are never counted as images.

        Args:
            title: text in the strip; None: the file's name.
            scores: write the scores in percent.
            labels: write the class names.

        Raises:
            ImageError: the image could not be counted.
            FileNotFoundError, ValueError: its file is gone, or cannot be read any more.
        """
        self._require_ok()
        is_array = isinstance(self._image, np.ndarray)
        image = self._image[:, :, ::-1] if is_array else read_rgb(self._image)
        title = title_of(self.name, self) if title is None else title
        return Picture.of(draw_result(image, self, title, scores=scores, labels=labels))

    def to_coco(self) -> dict:
        """The cells as a COCO data set of one image, with scores; see ``CellCounter.to_coco``.

        Raises:
            ImageError: the image could not be counted.
        """
        self._require_ok()
        found = Found.of(self)
        colors = dict(zip(self.class_names, self.class_colors, strict=True))
        return {
            "categories": to_categories(colors),
            "images": [found.to_coco_image(1, self.name or "image")],
            "annotations": [to_annotation(d, i, 1) for i, d in enumerate(found.detections, 1)],
        }

    @property
    def name(self) -> str:
        """Name of the file without its folders; empty for an array."""
        return Path(self.file).name if self.file else ""

    def __repr__(self) -> str:
        """``CountResult('field.jpg', 640 x 480: RBC 19, WBC 1, Platelets 2)``."""
        about = f"{self.file!r}, " if self.file else ""
        if not self.ok:
            return f"CountResult({about}not counted: {self.status})"
        height, width = self.size
        counts = ", ".join(f"{name} {number}" for name, number in self.counts.items())
        notes = f"; {'; '.join(self.notes)}" if self.notes else ""
        return f"CountResult({about}{width} x {height}: {counts}{notes})"

    def _require_ok(self):
        if not self.ok:
            raise ImageError(f"{self.file or 'the image'} is not counted: {self.status}")


class Picture(Image.Image):
    """A PIL image whose PNG files say that this project drew them."""

    @classmethod
    def of(cls, array: np.ndarray) -> "Picture":
        """A picture of a uint8 RGB array (H, W, 3)."""
        height, width = array.shape[:2]
        picture = cls()
        picture.__setstate__([{}, "RGB", (width, height), None, array.tobytes()])
        return picture

    def save(
        self, fp: str | os.PathLike | IO[bytes], format: str | None = None, **params: Any
    ) -> None:
        """As Pillow's."""
        if "pnginfo" not in params:
            params["pnginfo"] = PngImagePlugin.PngInfo()
            params["pnginfo"].add_text("Software", SOFTWARE)
        super().save(fp, format, **params)
