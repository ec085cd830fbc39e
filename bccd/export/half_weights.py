"""Storing the weights of an .onnx file in half precision where that loses nothing."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

_WORTHWHILE = 4096  # bytes; smaller weights are not worth two more nodes
_ROUNDING = 1e-6  # relative to the largest weight of a channel: a few roundings of fp32


def store_in_half(path: Path, weights: dict[str, np.ndarray]) -> None:
    """Rewrite an .onnx file that was made of a checkpoint in half precision, to half its size.

    Its weights are those of the checkpoint or, where batch normalisation has been made part of a
    convolution, those times a factor per output channel. They are stored as fp16 (and the factors
    as fp32), with nodes that give the fp32 weights back. Runtimes evaluate those once, on loading.

    Args:
        path: of the file, weights inside.
        weights: name in the file -> array of the checkpoint, of any precision.
    """
    model = onnx.load(str(path))
    graph, nodes, kept = model.graph, [], []
    for initializer in graph.initializer:
        parts = _split(numpy_helper.to_array(initializer), weights.get(initializer.name))
        if parts is None:
            kept.append(initializer)
            continue
        added, restoring = _restore(initializer.name, *parts)
        kept += added
        nodes += restoring
    nodes += graph.node
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.save(model, str(path))


def _split(values, original):
    """(fp16 array, fp32 factors or None) that give ``values``, or None where there are none."""
    if values.dtype != np.float32 or values.nbytes < _WORTHWHILE:
        return None
    half = _exact_half(values)
    if half is not None:
        return half, None
    if original is None or original.shape != values.shape:
        return None
    half = _exact_half(original.astype(np.float32))
    if half is None:
        return None
    rows, target = (x.reshape(len(x), -1).astype(np.float64) for x in (half, values))
    factors = (rows * target).sum(1) / np.maximum((rows * rows).sum(1), 1e-30)
    factors = factors.astype(np.float32)
    error = abs(rows * factors[:, None] - target).max(1)
    if (error > _ROUNDING * abs(target).max(1)).any():
        return None
    return half, factors.reshape(-1, *[1] * (values.ndim - 1))


def _exact_half(values):
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    return half if np.array_equal(half.astype(np.float32), values) else None


def _restore(name, half, factors):
    """The initializers, and the nodes that make ``name`` of them."""
    cast = name if factors is None else f"{name}_unscaled"
    initializers = [numpy_helper.from_array(half, f"{name}_half")]
    nodes = [helper.make_node("Cast", [f"{name}_half"], [cast], to=onnx.TensorProto.FLOAT)]
    if factors is not None:
        initializers.append(numpy_helper.from_array(factors, f"{name}_factors"))
        nodes.append(helper.make_node("Mul", [cast, f"{name}_factors"], [name]))
    return initializers, nodes
