"""What YOLOv3's programs compute, cell by cell and layer by layer."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """IoU of two boxes (x, y, width, height), x and y of the centre."""

    def common(i):
        return min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2) - max(
            a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2
        )

    inner = max(common(0), 0) * max(common(1), 0)
    return inner / (a[2] * a[3] + b[2] * b[3] - inner)


def centre_form(box: Sequence[float]) -> list[float]:
    x0, y0, x1, y1 = box
    return [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]


def darknet_deltas(
    outputs: list[np.ndarray],
    anchors: list[list[list[float]]],
    strides: list[int],
    truth: tuple[list[list[float]], list[int]],
    area: float,
    ignore: float = 0.7,
) -> list[np.ndarray]:
    """Negative gradients of Darknet's layers for one image, of the shapes of ``outputs``.

    Args:
        outputs: of each map, (A, H, W, 5 + K): x, y, width, height, objectness, classes; as the
            convolution gives them.
        anchors: of each map, width and height in pixels.
        strides: of each map.
        truth: boxes XYXY in pixels, and classes.
        area: of the image.
        ignore: IoU above which a prediction is no negative.
    """
    boxes, classes = [centre_form(box) for box in truth[0]], truth[1]
    deltas = [np.zeros_like(x) for x in outputs]
    for out, delta, sizes, stride in zip(outputs, deltas, anchors, strides, strict=True):
        for a, row, column in np.ndindex(out.shape[:3]):
            x = out[a, row, column]
            predicted = [
                (sigmoid(x[0]) + column) * stride,
                (sigmoid(x[1]) + row) * stride,
                sizes[a][0] * math.exp(x[2]),
                sizes[a][1] * math.exp(x[3]),
            ]
            best = max((overlap(predicted, box) for box in boxes), default=0)
            delta[a, row, column, 4] = 0 if best > ignore else -sigmoid(x[4])
    every = [(level, a) for level, sizes in enumerate(anchors) for a in range(len(sizes))]
    for box, kind in zip(boxes, classes, strict=True):
        shapes = [overlap([0, 0, *anchors[level][a]], [0, 0, *box[2:]]) for level, a in every]
        level, a = every[shapes.index(max(shapes))]
        stride, (width, height) = strides[level], anchors[level][a]
        column, row = int(box[0] / stride), int(box[1] / stride)
        x, delta = outputs[level][a, row, column], deltas[level][a, row, column]
        scale = 2 - box[2] * box[3] / area
        delta[0] = scale * (box[0] / stride - column - sigmoid(x[0]))
        delta[1] = scale * (box[1] / stride - row - sigmoid(x[1]))
        delta[2] = scale * (math.log(box[2] / width) - x[2])
        delta[3] = scale * (math.log(box[3] / height) - x[3])
        delta[4] = 1 - sigmoid(x[4])
        if delta[5]:  # of an earlier box of this anchor, whose classes stay
            delta[5 + kind] = 1 - sigmoid(x[5 + kind])
            continue
        for k in range(len(x) - 5):
            delta[5 + k] = (k == kind) - sigmoid(x[5 + k])
    return deltas


def ciou(a: Sequence[float], b: Sequence[float]) -> float:
    """CIoU of two boxes (x, y, width, height)."""
    hull = [
        max(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2)
        - min(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2)
        for i in (0, 1)
    ]
    distance = ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (hull[0] ** 2 + hull[1] ** 2)
    shape = 4 / math.pi**2 * (math.atan(a[2] / a[3]) - math.atan(b[2] / b[3])) ** 2
    value = overlap(a, b)
    return value - distance - shape * shape / (1 - value + shape)


def cross_entropy(x: float, target: float) -> float:
    return -target * math.log(sigmoid(x)) - (1 - target) * math.log(1 - sigmoid(x))


def neighbours(
    box: Sequence[float], size: tuple[int, int], stride: int
) -> Iterator[tuple[int, int, int]]:
    """(which of five, row, column) of the cells that learn a box."""
    x, y = box[0] / stride, box[1] / stride
    column, row = int(x), int(y)
    yield 0, row, column
    if x - column < 0.5 and x > 1:
        yield 1, row, column - 1
    if y - row < 0.5 and y > 1:
        yield 2, row - 1, column
    if x - column > 0.5 and x < size[1] - 1:
        yield 3, row, column + 1
    if y - row > 0.5 and y < size[0] - 1:
        yield 4, row + 1, column


def later_losses(
    outputs: list[np.ndarray],
    anchors: list[list[list[float]]],
    strides: list[int],
    truths: list[tuple[list[list[float]], list[int]]],
    balance: Sequence[float] = (4.0, 1.0, 0.4),
) -> tuple[float, float, float]:
    """Box, objectness and class loss of the later program before its gains; see darknet_deltas.

    ``outputs`` are (N, A, H, W, 5 + K).
    """
    totals = [0.0, 0.0, 0.0]
    for out, sizes, stride, weight in zip(outputs, anchors, strides, balance, strict=True):
        pairs = []
        for image, (boxes, classes) in enumerate(truths):
            for box, kind in zip(map(centre_form, boxes), classes, strict=True):
                for a, size in enumerate(sizes):
                    ratios = [box[2] / size[0], box[3] / size[1]]
                    if max(*ratios, *(1 / ratio for ratio in ratios)) < 4:
                        for which, *cell in neighbours(box, out.shape[2:4], stride):
                            pairs.append((which, a, image, *cell, box, kind))
        pairs.sort(key=lambda pair: pair[:3])  # stable: within these, by ground truth
        wanted = np.zeros(out.shape[:-1])
        box_sum = class_sum = 0.0
        for _, a, image, row, column, box, kind in pairs:
            x = out[image, a, row, column]
            predicted = [
                2 * sigmoid(x[0]) - 0.5 + column,
                2 * sigmoid(x[1]) - 0.5 + row,
                sizes[a][0] / stride * (2 * sigmoid(x[2])) ** 2,
                sizes[a][1] / stride * (2 * sigmoid(x[3])) ** 2,
            ]
            value = ciou(predicted, [side / stride for side in box])
            box_sum += 1 - value
            wanted[image, a, row, column] = max(value, 0)
            class_sum += sum(cross_entropy(y, k == kind) for k, y in enumerate(x[5:]))
        if pairs:
            totals[0] += box_sum / len(pairs)
            totals[2] += class_sum / len(pairs) / (out.shape[-1] - 5)
        terms = [cross_entropy(out[i][4], wanted[i]) for i in np.ndindex(wanted.shape)]
        totals[1] += weight * sum(terms) / wanted.size
    return tuple(totals)


def darknet_cfg(widths: Sequence[int], units: Sequence[int], outputs: int) -> list[tuple]:
    """Layers of yolov3.cfg for other widths of its six sizes of maps, and residual units."""
    layers = [("conv", widths[0], 3, 1)]
    ends = []
    for width, count in zip(widths[1:], units, strict=True):
        layers.append(("conv", width, 3, 2))
        for _ in range(count):
            layers += [("conv", width // 2, 1, 1), ("conv", width, 3, 1), ("shortcut", -3)]
        ends.append(len(layers) - 1)
    for level in (2, 1, 0):
        width = widths[3 + level] // 2
        for _ in range(3):
            layers += [("conv", width, 1, 1), ("conv", 2 * width, 3, 1)]
        layers.append(("linear", outputs))
        if level:
            layers += [("route", -3), ("conv", width // 2, 1, 1), ("upsample",)]
            layers.append(("route", -1, ends[level + 1]))
    return layers


def tiny_cfg(widths: Sequence[int], outputs: int) -> list[tuple]:
    """Layers of yolov3-tiny.cfg for other widths of its seven convolutions."""
    layers = []
    for width in widths[:5]:
        layers += [("conv", width, 3, 1), ("max", 2)]
    layers += [("conv", widths[5], 3, 1), ("max", 1), ("conv", widths[6], 3, 1)]
    layers += [("conv", widths[4], 1, 1), ("conv", 2 * widths[4], 3, 1), ("linear", outputs)]
    layers += [("route", -3), ("conv", widths[4] // 2, 1, 1), ("upsample",), ("route", -1, 8)]
    return [*layers, ("conv", widths[4], 3, 1), ("linear", outputs)]


class Darknet:
    """Runs layers as Darknet does on a GPU or a CPU, on the numbers of its file in their order."""

    def __init__(self, layers: list[tuple], seed: int = 0):
        self.layers, self.numbers = layers, []
        self._random = np.random.default_rng(seed)

    def _take(self, *shape, low=-1.0, high=1.0):
        numbers = self._random.uniform(low, high, math.prod(shape)).astype("<f4")
        self.numbers.append(numbers)
        return torch.from_numpy(numbers.astype(np.float64)).view(shape)

    def run(self, image: Tensor, cpu: bool = False) -> list[Tensor]:
        """What goes into the detection layers, (N, outputs, H, W) each, of ``image`` in [0, 1]."""
        found, x, results = [], image.double(), []
        for kind, *options in self.layers:
            if kind == "conv":
                x = self._convolve(x, *options, cpu=cpu)
            elif kind == "linear":
                x = self._linear(x, *options)
            elif kind == "shortcut":
                x = x + found[options[0]]
            elif kind == "route":
                x = torch.cat([found[i] for i in options], dim=1)
            elif kind == "upsample":
                x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
            elif kind == "max":
                stride = options[0]
                x = F.pad(x, (0, 2 - stride, 0, 2 - stride), value=-math.inf)
                x = F.max_pool2d(x, 2, stride)
            found.append(x)
            if kind == "linear":
                results.append(x)
        return results

    def _convolve(self, x, filters, side, stride, cpu):
        bias, scale = self._take(filters), self._take(filters, low=0.5, high=1.5)
        mean, variance = self._take(filters), self._take(filters, low=0.1, high=1.0)
        limit = math.sqrt(2 / (x.shape[1] * side * side))
        weights = self._take(filters, x.shape[1], side, side, low=-limit, high=limit)
        x = F.conv2d(x, weights, stride=stride, padding=side // 2)
        deviation = variance.sqrt() + 1e-6 if cpu else (variance + 1e-5).sqrt()
        shape = (1, -1, 1, 1)
        x = (x - mean.view(shape)) / deviation.view(shape) * scale.view(shape) + bias.view(shape)
        return torch.where(x > 0, x, 0.1 * x)

    def _linear(self, x, outputs):
        bias = self._take(outputs)
        return F.conv2d(x, self._take(outputs, x.shape[1], 1, 1), bias)

    def file(self) -> bytes:
        """The numbers that :meth:`run` has used, behind the header of a Darknet of version 0.2."""
        header = np.array([0, 2, 5], "<i4").tobytes() + np.array([32013312], "<i8").tobytes()
        return header + np.concatenate(self.numbers).tobytes()
