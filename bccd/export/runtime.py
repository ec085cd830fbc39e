"""Running exported detectors; nothing here imports a model, nor PyTorch for an .onnx file."""

import time
from pathlib import Path

import numpy as np

from bccd.data.classes import class_colors
from bccd.data.images.resizing import resize, shortest_edge_size
from bccd.detections import Detections
from bccd.export.magnification import ONE_FIELD, Magnification, with_margin, without_margin
from bccd.export.metadata import KEY, Metadata
from bccd.model_zoo import find_export, sha256
from bccd.processes import threads_of_this_process

SPIN_MICROSECONDS = "20"


class OnnxRuntime:
    """An .onnx file in ONNX Runtime, on a GPU where that can use one."""

    suffix = ".onnx"

    def __init__(self, path: str | Path) -> None:
        """Raises ImportError where onnxruntime is missing, ValueError where it rejects the file."""
        try:
            import onnxruntime
        except ImportError as error:
            raise ImportError(f"{path} needs ONNX Runtime: pip install onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads_of_this_process()
        # Or threads that wait would keep a core from other processes for a millisecond and more;
        # an older ONNX Runtime does not know the key and goes on doing so.
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_MICROSECONDS)
        providers = onnxruntime.get_available_providers()
        wanted = [p for p in ("CUDAExecutionProvider", "CPUExecutionProvider") if p in providers]
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
        except Exception as error:  # its errors share no base class
            raise ValueError(f"ONNX Runtime cannot load {path}: {error}") from error
        self.strings = self._session.get_modelmeta().custom_metadata_map

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """uint8 array (N, H, W, 3) to arrays boxes (N, D, 4), scores (N, D), classes (N, D)."""
        return self._session.run(["boxes", "scores", "classes"], {"images": images})


class OpenVino:
    """An .onnx file in OpenVINO, on the CPU, in the precision that the file has."""

    suffix = ".onnx"

    def __init__(self, path: str | Path) -> None:
        """Raises ImportError where openvino is missing, ValueError where it rejects the file."""
        try:
            import openvino
        except ImportError as error:
            raise ImportError(f"{path} needs OpenVINO: pip install openvino") from error
        options = {
            "INFERENCE_NUM_THREADS": threads_of_this_process(),
            "INFERENCE_PRECISION_HINT": "f32",  # or it takes bfloat16 where the CPU has it
        }
        try:
            model = openvino.Core().read_model(str(path))
            self._model = openvino.compile_model(model, "CPU", options)
        except RuntimeError as error:
            raise ValueError(f"OpenVINO cannot load {path}: {error}") from error
        own = ["framework", KEY]  # where it keeps the metadata of an ONNX file
        self.strings = {KEY: model.get_rt_info(own).astype(str)} if model.has_rt_info(own) else {}

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """As :meth:`OnnxRuntime.__call__`."""
        found = self._model({"images": images})
        return [np.array(found[name]) for name in ("boxes", "scores", "classes")]


class AotInductor:
    """A .pt2 package that AOTInductor has compiled for this kind of CPU.

    To load it is to run its code: packages are for those who trust where they come from.
    """

    suffix = ".pt2"

    def __init__(self, path: str | Path) -> None:
        """Raises ValueError where PyTorch rejects the file or it is no package of this project."""
        try:
            import torch
            import torchvision  # noqa: F401  its operators are called
        except ImportError as error:
            raise ImportError(f"{path} needs PyTorch: pip install torch torchvision") from error
        try:
            self._model = torch._inductor.aoti_load_package(str(path))
        except (RuntimeError, OSError) as error:
            raise ValueError(f"PyTorch cannot load {path}: {error}") from error
        self.strings = self._model.get_metadata()
        metadata = Metadata.from_strings(self.strings, path)
        self._multiple, self._least = metadata.size_divisibility, metadata.min_side

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """As :meth:`OnnxRuntime.__call__`."""
        import torch

        count, *size = images.shape[:3]
        cells = [-(-max(side, self._least) // self._multiple) for side in size]
        padding = [(0, n * self._multiple - side) for n, side in zip(cells, size, strict=True)]
        padded = np.pad(images, [(0, 0), *padding, (0, 0)])
        with torch.no_grad():
            found = self._model(torch.from_numpy(padded), torch.tensor([size] * count))
        return [x.numpy() for x in found]


RUNTIMES = {"onnx": OnnxRuntime, "openvino": OpenVino, "aotinductor": AotInductor}


def default_runtime(path: Path) -> str:
    """The runtime for files with the suffix of ``path``.

    Raises:
        ValueError: there is none.
    """
    for name, runtime in RUNTIMES.items():
        if runtime.suffix == path.suffix:
            return name
    suffixes = " or ".join(dict.fromkeys(runtime.suffix for runtime in RUNTIMES.values()))
    raise ValueError(f"{path}: the name of an exported model ends in {suffixes}")


def find_file(runtime: str, model: str | Path) -> Path:
    """The file for ``runtime`` that ``model`` names: a path, or a shipped model's name.

    Args:
        runtime: a key of ``RUNTIMES``.
        model: what has neither a suffix nor a folder is the name of a shipped model.

    Raises:
        FileNotFoundError: there is no such file or model.
        ValueError: an unknown runtime, or a file that it is not for; see also
            ``model_zoo.find_export``.
    """
    if runtime not in RUNTIMES:
        raise ValueError(f"runtime {runtime} is unknown; use one of {', '.join(RUNTIMES)}")
    path = Path(model)
    if not path.suffix and len(path.parts) == 1:
        path = find_export(str(model))
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; bccd export writes such files")
    if path.suffix != RUNTIMES[runtime].suffix:
        raise ValueError(f"{path}: {runtime} runs files that end in {RUNTIMES[runtime].suffix}")
    return path


def load(runtime: str, model: str | Path) -> OnnxRuntime | OpenVino | AotInductor:
    """An exported detector, ready to be called with images.

    Args:
        runtime, model: as :func:`find_file`.

    Raises:
        FileNotFoundError, ValueError: as :func:`find_file`; the runtime cannot load the file.
        ImportError: the runtime is not installed.
    """
    return RUNTIMES[runtime](find_file(runtime, model))


class ExportedPredictor:
    """As ``bccd.counting.predictor.Predictor``, from an exported file and without PyTorch.

    Attributes:
        metadata (Metadata): of the file.
        class_names: by class index.
        class_colors: RGB, 0-255, of each class.
        operating_points, counting_thresholds: {class name: score threshold} or None.
        count_intervals: COUNTING.INTERVALS as a dict, or None.
        identity (str): of the file's bytes and the runtime.
        field_size, max_detections, magnification: as of ``Predictor``.
        seconds, images: spent detecting, and how often it ran.
    """

    def __init__(self, runtime: str, model: str | Path) -> None:
        """Raises as :func:`load`; ValueError where the file has no metadata of this project."""
        path = find_file(runtime, model)
        self.runtime = RUNTIMES[runtime](path)
        self.metadata = Metadata.from_strings(self.runtime.strings, path)
        self.class_names = tuple(self.metadata.class_names)
        self.class_colors = class_colors(self.class_names, self.metadata.class_colors)
        self.operating_points = self.metadata.thresholds
        self.field_size = tuple(self.metadata.field_size)
        self.max_detections = self.metadata.max_detections
        self.magnification = Magnification.of(
            self.class_names,
            self.metadata.red_cell_diameter,
            self.field_size,
            (self.metadata.min_size, self.metadata.max_size),
            self.metadata.fixed_size,
            self.metadata.fields_at_once,
            self.metadata.expected_diameter,
            has_fixed_number=self.metadata.fields_at_once <= ONE_FIELD,
        )
        self.counting_thresholds = self.metadata.counting_thresholds
        self.count_intervals = self.metadata.count_intervals
        self.identity = f"{runtime} {sha256(path)}"
        self.seconds, self.images = 0.0, 0

    def __call__(self, image: np.ndarray) -> Detections:
        """Detect: uint8 BGR array (H, W, 3) to Detections, boxes in pixels of ``image``."""
        return self.detect(self.prepare(image))

    def prepare(self, image: np.ndarray) -> dict:
        """What :meth:`detect` takes, of an image; may run in another thread.

        Returns:
            "image" resized, an array (3, h, w); "height" and "width" of ``image``.
        """
        resized = resize_for(self.metadata, image).transpose(2, 0, 1)
        return {"image": resized, "height": image.shape[0], "width": image.shape[1]}

    def detect(self, inputs: dict) -> Detections:
        """Detect in what :meth:`prepare` returned, or in a record of a test loader."""
        start = time.perf_counter()
        boxes, scores, classes = (x[0] for x in self.runtime(to_array(inputs)[None]))
        found = Detections(tuple(inputs["image"].shape[1:]), boxes, scores, classes)[scores >= 0]
        found = found.resized_to((inputs["height"], inputs["width"]))
        self.seconds += time.perf_counter() - start
        self.images += 1
        return found

    def detect_resized(self, image: np.ndarray) -> Detections:
        """As ``Predictor.detect_resized``; the number of detections does not grow."""
        size = image.shape[:2]
        if self.metadata.channel_order == "RGB":
            image = image[:, :, ::-1]
        image = with_margin(image, self.metadata.pixel_mean, self.metadata.min_side)
        height, width = image.shape[:2]
        found = self.detect({"image": image.transpose(2, 0, 1), "height": height, "width": width})
        return without_margin(found, size)

    def detection_limit(self, height: int, width: int) -> int:
        """As of ``Predictor``."""
        return self.max_detections

    def describe_speed(self) -> str:
        """A sentence on the runs so far: one for each image, tile, or look at its magnification."""
        rate = self.images / self.seconds if self.seconds else 0.0
        return (
            f"{self.images} runs of the detector in {self.seconds:.2f} s: {rate:.1f} per second, "
            "without reading, resizing and drawing"
        )


def resize_for(metadata: Metadata, image: np.ndarray) -> np.ndarray:
    """An image, uint8 BGR (H, W, 3), in the size and order of channels that a detector takes."""
    if metadata.channel_order == "RGB":
        image = np.ascontiguousarray(image[:, :, ::-1])
    size = metadata.fixed_size or shortest_edge_size(
        *image.shape[:2], metadata.min_size, metadata.max_size
    )
    return resize(image, size)


def to_array(inputs: dict) -> np.ndarray:
    """The image of a record, (3, h, w), as exported files take it: uint8 array (h, w, 3)."""
    return np.ascontiguousarray(np.asarray(inputs["image"]).transpose(1, 2, 0))
