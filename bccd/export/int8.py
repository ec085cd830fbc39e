"""An ONNX file in 8-bit integers, for CPUs with VNNI (or another 8-bit dot product)."""

import ast
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bccd.detections import DEFAULT_THRESHOLD
from bccd.export.metadata import Metadata

SCOPES = "pkg.torch.onnx.name_scopes"  # where torch.onnx notes the modules that a node comes from
# What a backbone and its towers consist of; elsewhere in the graph they stay as they are.
OPERATORS = ("Add", "Conv", "MaxPool", "Relu", "Resize")
# Chosen on bccd_paper_val among 100, 99.99 and least entropy; docs/deployment.md has the figures.
PERCENTILE = 99.99


class UselessCalibrationError(Exception):
    """The quantized detector does not work on the images that it was calibrated with."""


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Images whose activations decide the ranges of the integers.

    Attributes:
        dataset (str): where they come from.
        images (list): uint8 arrays (H, W, 3), resized as for testing.
    """

    dataset: str
    images: list

    def describe(self) -> dict:
        """For the metadata of a file."""
        return {"dataset": self.dataset, "images": len(self.images)}


def draw_calibration(dataset: Sequence[dict], name: str, count: int, seed: int = 0) -> Calibration:
    """Calibration images, drawn without replacement.

    Args:
        dataset: dicts with ``image`` (3, H, W) uint8 tensor.
        name: of the data set.
        count: all where there are fewer.
    """
    chosen = np.random.default_rng(seed).permutation(len(dataset))[:count]
    images = [dataset[int(i)]["image"].permute(1, 2, 0).numpy() for i in chosen]
    return Calibration(name, [np.ascontiguousarray(image) for image in images])


def quantize(
    path: Path, output: Path, images: Sequence[np.ndarray], modules: Sequence[str]
) -> None:
    """Quantize the convolutions inside ``modules``; everything behind them stays in fp32.

    Activations are unsigned, weights signed with a scale per output channel. The range of each
    activation holds PERCENTILE of its values in ``images``.

    Args:
        path: .onnx file of :func:`bccd.export.onnx_file.write_onnx`.
        output: file to write, its metadata those of ``path``.
        images: uint8 arrays (H, W, 3).
        modules: names of modules, as the detector's ``int8_modules``.

    Raises:
        ValueError: no node of the file comes from one of the modules.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = onnx.load(path)
    chosen = [node for node in model.graph.node if _is_inside(node, modules)]
    if not chosen:
        raise ValueError(f"{path} has nothing to quantize in {', '.join(modules)}")
    body = _upstream(model, chosen)
    add_pre_process_metadata(body)  # torch.onnx has folded and inferred shapes already
    with tempfile.TemporaryDirectory() as folder:
        draft = Path(folder, "body.onnx")
        quantize_static(
            body,
            draft,
            _Reader(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=OPERATORS,
            nodes_to_quantize=[node.name for node in chosen],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            # One image at a time: all their activations together would not fit into the memory.
            extra_options={"CalibPercentile": PERCENTILE, "CalibStridedMinMax": 1},
        )
        onnx.save(_joined(onnx.load(draft), body, model), output)


def require_detections(
    runtime: Callable[[np.ndarray], Sequence[np.ndarray]],
    original: Callable[[np.ndarray], Sequence[np.ndarray]],
    images: Sequence[np.ndarray],
    metadata: Metadata,
) -> tuple[int, int]:
    """Count cells in the calibration images with the quantized and the original file.

    Args:
        runtime, original: see ``runtime.OnnxRuntime``.
        metadata: its thresholds count, or 0.5 where it has none.

    Returns:
        cells counted by ``runtime`` and by ``original``.

    Raises:
        UselessCalibrationError: one of them counts none.
    """
    counts = [_count(each, images, metadata) for each in (runtime, original)]
    if not all(counts):
        raise UselessCalibrationError(
            f"the int8 model counts {counts[0]} cells in {len(images)} calibration images, the "
            f"fp32 model {counts[1]}: calibrate with images of cells that the model detects"
        )
    return tuple(counts)


class _Reader:
    """What onnxruntime asks a CalibrationDataReader for: inputs, then None."""

    def __init__(self, images):
        self._images = images
        self.set_range(0, len(images))

    def __len__(self):
        return len(self._images)

    def set_range(self, start_index, end_index):
        self._left = iter(self._images[start_index:end_index])

    def get_next(self):
        image = next(self._left, None)
        return None if image is None else {"images": image[None]}


def _is_inside(node, modules):
    scopes = {entry.key: entry.value for entry in node.metadata_props}.get(SCOPES, "[]")
    return node.op_type in OPERATORS and any(
        scope == module or scope.startswith(f"{module}.")
        for scope in ast.literal_eval(scopes)
        for module in modules
    )


def _upstream(model, chosen):
    """The part of ``model`` that ends with the results of ``chosen``.

    Calibration then meets no tensor of the post-processing: those can be empty.
    """
    from onnx.utils import Extractor

    names = {node.name for node in chosen}
    used = {name for node in model.graph.node if node.name not in names for name in node.input}
    results = [name for node in chosen for name in node.output if name in used]
    return Extractor(model).extract_model([x.name for x in model.graph.input], results)


def _joined(quantized, body, model):
    """``model`` with ``quantized`` in the place of its part ``body``."""
    replaced = {node.name for node in body.graph.node}
    rest = [node for node in model.graph.node if node.name not in replaced]
    needed = {name for node in rest for name in node.input}
    needed -= {tensor.name for tensor in quantized.graph.initializer}
    quantized.graph.node.extend(rest)
    quantized.graph.initializer.extend(t for t in model.graph.initializer if t.name in needed)
    del quantized.graph.output[:]
    quantized.graph.output.extend(model.graph.output)
    quantized.metadata_props.extend(model.metadata_props)
    return quantized


def _count(runtime, images, metadata):
    thresholds = metadata.thresholds or {}
    limits = np.array([thresholds.get(n, DEFAULT_THRESHOLD) for n in metadata.class_names])
    total = 0
    for image in images:
        _, scores, classes = (x[0] for x in runtime(image[None]))
        total += int((scores >= np.maximum(limits[classes], 0)).sum())
    return total
