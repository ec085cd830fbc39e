"""Counting for programs: one object that counts cells in images."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from bccd.counting import result_files
from bccd.counting.border import Border, check_border
from bccd.counting.field_info import FieldInfo
from bccd.counting.image_counter import ImageCounter
from bccd.counting.image_errors import blame_image
from bccd.counting.images import ChannelOrder, ImageLike, is_path, to_bgr, to_source
from bccd.counting.intervals import CountIntervals
from bccd.counting.load import ImagePredictor, ModelChoice, load_predictor
from bccd.counting.pictures import BLANK
from bccd.counting.regions.per_image import Regions
from bccd.counting.regions.reading import RegionLike
from bccd.counting.result import CountResult
from bccd.counting.slides.count import count_slide
from bccd.counting.slides.result import SlideResult
from bccd.counting.stream import plan, stream, with_source
from bccd.counting.summary import Quantity, Tally, summarise
from bccd.data.classes import Color
from bccd.model_zoo import DEFAULT_MODEL


class CellCounter(ImageCounter):
    """Counts cells in images with a trained detector.

    Example::

        counter = CellCounter("ssd_lite")
        result = counter("field.jpg")
        result.counts                       # {"RBC": 19, "WBC": 1, "Platelets": 2}
        result.draw().save("field_counted.png")
        for result in counter.stream("slides/"):
            print(result.file, result.counts if result.ok else result.status)

    A counter can be used for any number of images, by one thread at a time.

    Attributes:
        class_names: names of the classes it tells apart.
        class_colors: RGB, 0-255, of each in pictures.
        thresholds: {class name: score from which a detection counts}.
        border: which of the cells count that the border of an image cuts.
        micrometres_per_pixel: of all images, where it was given.
        field: detects in a field of any magnification; None: the detector does not know its own.
        intervals: what the 95% intervals of its counts are made of; None: they have none.
        settings: what its counts depend on beside the image, for JSON: ``model``, a text that
            differs where the detector does, ``threshold`` and ``color`` by class name.
    """

    class_names: tuple[str, ...]
    class_colors: tuple[Color, ...]
    thresholds: dict[str, float]
    border: Border
    intervals: CountIntervals | None
    settings: dict

    def __init__(
        self,
        model: str | os.PathLike | None = DEFAULT_MODEL,
        *,
        config_file: str | os.PathLike | None = None,
        runtime: Literal["pytorch", "onnx", "openvino", "aotinductor"] | None = None,
        device: str | None = None,
        thresholds: float | Mapping[str, float] | None = None,
        red_cell_diameter: float | None = None,
        micrometres_per_pixel: float | None = None,
        border: Border = "all",
        config: Mapping[str, object] | None = None,
    ) -> None:
        """Load a detector.

        Args:
            model: the name of a model that comes with the project (``bccd models`` lists them), the
                path of a checkpoint, or the path of an exported file (``.onnx``, ``.pt2``). None:
                the weights that ``config_file`` names.
            config_file: the yaml that a checkpoint was trained with; default: the ``config.yaml``
                beside it.
            runtime: what runs the model. Default: of an exported file by its suffix; PyTorch for
                everything else, or ONNX Runtime for a model that comes with the project where
                PyTorch is not installed.
            device: of PyTorch, as ``"cpu"`` or ``"cuda:1"``; default: a GPU where there is one.
            thresholds: the score from which a detection counts as a cell: a number for all
                classes, or {class name: number}. Classes without one keep the thresholds that were
                stored with the model, or else 0.5.
            red_cell_diameter: of the images, in pixels; None: of the size of a pixel where it is
                known, or else measured in each image, see the ``scale`` of its result.
            micrometres_per_pixel: of the images, whose red cells are 7.5 micrometres wide; None: as
                the file of an image states it, if it does.
            border: which of the cells count that the border of an image cuts: "all"; "half", those
                at the upper and the left edge alone, so that counts of neighbouring fields add up;
                or only cells that lie "inside", whole.
            config: config keys to change, as {"INPUT.MIN_SIZE_TEST": 480}; not of exported files.

        Raises:
            FileNotFoundError: no such model or file; similar names are suggested.
            ValueError: a file, an option or a threshold cannot be used.
            ImportError: a package that the model needs is not installed.
        """
        choice = ModelChoice(
            model=None if model is None else os.fspath(model),
            config_file=None if config_file is None else os.fspath(config_file),
            runtime=runtime,
            device=device,
            opts=tuple(itertools.chain.from_iterable((config or {}).items())),
        )
        check_border(border)
        known = red_cell_diameter, micrometres_per_pixel
        super().__init__(load_predictor(choice), thresholds, *known, border)

    @classmethod
    def of(
        cls,
        predictor: ImagePredictor,
        thresholds: float | Mapping[str, float] | None = None,
        red_cell_diameter: float | None = None,
        border: Border = "all",
        micrometres_per_pixel: float | None = None,
    ) -> "CellCounter":
        """A counter of a detector that is loaded already; other arguments as for the class."""
        counter = cls.__new__(cls)
        check_border(border)
        known = red_cell_diameter, micrometres_per_pixel
        ImageCounter.__init__(counter, predictor, thresholds, *known, border)
        return counter

    def __call__(
        self,
        image: ImageLike,
        *,
        channel_order: ChannelOrder = "RGB",
        region: RegionLike | None = None,
    ) -> CountResult:
        """Count the cells in one image.

        Args:
            image: a path (``"smear.tif#2"`` is the second page) or URL; a NumPy array (H, W, 3),
                uint8, with its channels in the order **RGB**, as PIL, scikit-image and imageio
                give them, or (H, W) in grey; or a PIL image, whose EXIF orientation is applied.
            channel_order: ``"BGR"`` for arrays of OpenCV (``cv2.imread``). A wrong order gives
                wrong counts: cells are known by the colours of their stain.
            region: in which cells count: a polygon or a mask, as ``stream`` takes it. A cell counts
                where the centre of its box lies inside.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file or the array cannot be used as an image, or the region does not fit
                it (``RegionError``).
            ImageError: the image is read, but cannot be counted: it has hardly any pixels.
            TypeError: ``image`` is of another type.
        """
        regions = Regions(region)
        pixels = to_bgr(image, channel_order)
        source = to_source(image) if is_path(image) else None
        info = FieldInfo.read(source, pixels.shape[:2], regions)
        with blame_image("cannot be resized", lambda: self.prepare(BLANK)):
            inputs = self.prepare(pixels, info)
        return with_source(self.detect(pixels, inputs, info), image, pixels)

    def stream(
        self,
        images: str | os.PathLike | Iterable[ImageLike],
        *,
        channel_order: ChannelOrder = "RGB",
        pictures: str | os.PathLike | None = None,
        region: RegionLike | None = None,
        on_error: Literal["yield", "raise"] = "yield",
    ) -> Iterator[CountResult]:
        """Count in many images, in their order and in memory that does not grow with their number.

        The next images are read and resized, and the last ones drawn, while the model works.

        Args:
            images: a folder, file, quoted pattern (``"slides/*/*.png"``) or URL, or a list of them;
                or any other iterable of images as ``__call__`` takes them, which may be endless.
                Each page of a file that holds several is an image. What a folder holds beside
                images that can be read is named in the log.
            channel_order: of arrays.
            pictures: a folder to write each image to with its cells drawn, as ``bccd count`` does;
                for images that are given by their paths.
            region: in which cells count. For all images alike: the path of a GeoJSON file (as
                QuPath writes it) or of a mask image, vertices (``"10,10 90,10 50,80"`` or an array
                (V, 2), in pixels), or a mask (H, W). Or the path of a folder with a GeoJSON file
                or a mask image for each image, of its name.
            on_error: an image that cannot be read or counted gives a result whose ``status`` says
                why, and whose ``counts`` raise ImageError; or ``"raise"``: ends the stream with
                ImageError.

        Raises:
            FileNotFoundError: a path names no image; at once, before the first result.
            ValueError: an option cannot be used.
        """
        if on_error not in ("yield", "raise"):
            raise ValueError(f"on_error is {on_error!r}; expected 'yield' or 'raise'")
        tasks, regions = plan(images, pictures), Regions(region)
        ends = on_error == "raise"
        return stream(self, tasks, channel_order, pictures, regions, ends_at_error=ends)

    def count_slide(
        self,
        slide: str | os.PathLike,
        output: str | os.PathLike,
        *,
        region: RegionLike | None = None,
        pictures: bool = True,
    ) -> SlideResult:
        """Count in a slide, tile by tile, in memory that does not grow with its size.

        Cells count where they lie side by side (a monolayer, found from a small copy of the
        slide), or in a region. What is finished stays in the output folder: after a kill, the same
        call goes on.

        Args:
            slide: pyramidal TIFF, OME-TIFF, SVS, NDPI, or another that ``tiffslide`` reads.
            output: folder for ``cells.geojson``, ``tiles.csv`` and the pictures.
            region: as of ``stream``, in pixels of the full resolution; a mask may be smaller than
                the slide.
            pictures: draw the slide with the counted area, and maps of the density.

        Raises:
            ImportError: ``tiffslide`` is not installed.
            FileNotFoundError: there is no such file.
            ValueError: it is no slide that can be counted (``ImageError``), or the region does not
                fit it.
        """
        return count_slide(self, Path(slide), Path(output), Regions(region), pictures=pictures)

    def to_csv(
        self,
        images: str | os.PathLike | Sequence[ImageLike] | Iterable[CountResult],
        path: str | os.PathLike,
    ) -> None:
        """Write the counts as the table ``counts.csv`` of ``bccd count``, a row an image.

        Args:
            images: results of this counter, as a list or as they come from :meth:`stream`; or a
                folder, or a list of images.
            path: of the file; an older one is replaced.
        """
        result_files.write_csv(self._results(images), Path(path), self.class_names)

    def to_coco(
        self,
        images: str | os.PathLike | Sequence[ImageLike] | Iterable[CountResult],
        path: str | os.PathLike,
    ) -> None:
        """Write the cells as the COCO file ``detections.json`` of ``bccd count``.

        Args:
            images, path: as of :meth:`to_csv`.
        """
        result_files.write_detections(self._results(images), Path(path), self.settings)

    def summarise(
        self,
        images: str | os.PathLike | Sequence[ImageLike] | Iterable[CountResult],
        microlitre_factors: float | Mapping[str, float] | None = None,
    ) -> list[Quantity]:
        """Mean and spread of the counts of fields of one smear, and ratios, with intervals.

        Args:
            images: as of :meth:`to_csv`.
            microlitre_factors: cells in a microlitre of blood for one cell per field: a number for
                all classes, or {class name: number}; None: no concentrations.

        Returns:
            see :func:`bccd.counting.summary.summarise`.
        """
        tally = Tally(self.class_names)
        for result in self._results(images):
            if result.ok:
                scale, area = result.scale, result.area
                tally.add(result.counts, area and area.pixels, scale and scale.diameter)
        return summarise(tally, self.intervals, microlitre_factors)

    def __repr__(self) -> str:
        """``CellCounter(RBC from 0.23, WBC from 0.40)``."""
        classes = ", ".join(f"{name} from {score:.2f}" for name, score in self.thresholds.items())
        return f"CellCounter({classes})"

    def _results(self, images):
        if isinstance(images, CountResult):
            return [images]
        is_list = isinstance(images, list | tuple)
        if is_path(images) or (is_list and not any(isinstance(i, CountResult) for i in images)):
            return self.stream(images)
        return images
