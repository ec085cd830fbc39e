"""YOLOv8 written out on the released program's names, and its losses cell by cell. Not a test.

From docs/detectors/yolov8.md and the papers, sharing no code with the implementation.
"""

import math

import torch
from torch.nn import functional as F

SIZES = {"n": ((16, 32, 64, 128, 256), (1, 2, 2, 1))}  # channels; bottlenecks of the stages


def random_weights(num_classes, generator):
    """Weights of YOLOv8n by the names of the released program."""
    weights = {}

    def conv(name, cin, cout, kernel):
        fan = cin * kernel * kernel
        weights[f"{name}.conv.weight"] = torch.randn(cout, cin, kernel, kernel, generator=generator)
        weights[f"{name}.conv.weight"] *= 1.5 / fan**0.5
        for key, low, high in (
            *(("weight", 0.5, 1.5), ("bias", -0.5, 0.5)),
            *(("running_mean", -0.3, 0.3), ("running_var", 0.5, 2.0)),
        ):
            values = low + (high - low) * torch.rand(cout, generator=generator)
            weights[f"{name}.bn.{key}"] = values
        weights[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)

    def c2f(name, cin, cout, count):
        conv(f"{name}.cv1", cin, cout, 1)
        conv(f"{name}.cv2", (2 + count) * cout // 2, cout, 1)
        for i in range(count):
            conv(f"{name}.m.{i}.cv1", cout // 2, cout // 2, 3)
            conv(f"{name}.m.{i}.cv2", cout // 2, cout // 2, 3)

    channels, repeats = SIZES["n"]
    conv("model.0", 3, channels[0], 3)
    for i in range(4):
        conv(f"model.{1 + 2 * i}", channels[i], channels[i + 1], 3)
        c2f(f"model.{2 + 2 * i}", channels[i + 1], channels[i + 1], repeats[i])
    conv("model.9.cv1", 256, 128, 1)
    conv("model.9.cv2", 512, 256, 1)
    c2f("model.12", 384, 128, 1)
    c2f("model.15", 192, 64, 1)
    conv("model.16", 64, 64, 3)
    c2f("model.18", 192, 128, 1)
    conv("model.19", 128, 128, 3)
    c2f("model.21", 384, 256, 1)
    width = max(64, min(num_classes, 100))
    for branch, wide, outputs in (("cv2", 64, 64), ("cv3", width, num_classes)):
        for level, cin in enumerate((64, 128, 256)):
            name = f"model.22.{branch}.{level}"
            conv(f"{name}.0", cin, wide, 3)
            conv(f"{name}.1", wide, wide, 3)
            weights[f"{name}.2.weight"] = torch.randn(outputs, wide, 1, 1, generator=generator) / 4
            weights[f"{name}.2.bias"] = torch.randn(outputs, generator=generator)
    weights["model.22.dfl.conv.weight"] = torch.arange(16.0).view(1, 16, 1, 1)
    return weights


def forward(weights, x):
    """Class logits (N, K, H, W) and bins (N, 64, H, W) of three maps; ``x`` (N, 3, H, W), 0-1."""

    def conv(name, x, stride=1):
        kernel = weights[f"{name}.conv.weight"]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)
        mean, var = weights[f"{name}.bn.running_mean"], weights[f"{name}.bn.running_var"]
        scale, shift = weights[f"{name}.bn.weight"], weights[f"{name}.bn.bias"]
        x = (x - mean[:, None, None]) / (var + 1e-3).sqrt()[:, None, None]
        x = x * scale[:, None, None] + shift[:, None, None]
        return x * torch.sigmoid(x)

    def c2f(number, x, shortcut):
        name = f"model.{number}"
        x = conv(f"{name}.cv1", x)
        half = x.shape[1] // 2
        parts = [x[:, :half], x[:, half:]]
        while f"{name}.m.{len(parts) - 2}.cv1.conv.weight" in weights:
            block = f"{name}.m.{len(parts) - 2}"
            y = conv(f"{block}.cv2", conv(f"{block}.cv1", parts[-1]))
            parts.append(parts[-1] + y if shortcut else y)
        return conv(f"{name}.cv2", torch.cat(parts, 1))

    def twice(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    x = conv("model.0", x, 2)
    maps = {}
    for number in (1, 3, 5, 7):
        x = c2f(number + 1, conv(f"model.{number}", x, 2), shortcut=True)
        maps[number + 1] = x
    x = conv("model.9.cv1", x)
    # Three pools of 5 in a row reach as far as pools of 5, 9 and 13.
    pools = [F.max_pool2d(x, k, stride=1, padding=k // 2) for k in (5, 9, 13)]
    maps[9] = conv("model.9.cv2", torch.cat([x, *pools], 1))
    maps[12] = c2f(12, torch.cat([twice(maps[9]), maps[6]], 1), shortcut=False)
    maps[15] = c2f(15, torch.cat([twice(maps[12]), maps[4]], 1), shortcut=False)
    maps[18] = c2f(18, torch.cat([conv("model.16", maps[15], 2), maps[12]], 1), shortcut=False)
    maps[21] = c2f(21, torch.cat([conv("model.19", maps[18], 2), maps[9]], 1), shortcut=False)
    outputs = {"cv2": [], "cv3": []}
    for branch, found in outputs.items():
        for level, number in enumerate((15, 18, 21)):
            name = f"model.22.{branch}.{level}"
            y = conv(f"{name}.1", conv(f"{name}.0", maps[number]))
            found.append(F.conv2d(y, weights[f"{name}.2.weight"], weights[f"{name}.2.bias"]))
    return outputs["cv3"], outputs["cv2"]


def cells(sizes, strides=(8, 16, 32)):
    """(x, y, stride) of each cell's centre in pixels; ``sizes`` (rows, columns) of each map."""
    return [
        ((column + 0.5) * stride, (row + 0.5) * stride, stride)
        for (rows, columns), stride in zip(sizes, strides, strict=True)
        for row in range(rows)
        for column in range(columns)
    ]


def decode(bins, place):
    """Box (4,) in pixels of the bins (64,) at a cell."""
    x, y, stride = place
    left, top, right, bottom = (
        sum(i * p for i, p in enumerate(bins[16 * s : 16 * s + 16].softmax(0))) for s in range(4)
    )
    sides = [x - stride * left, y - stride * top, x + stride * right, y + stride * bottom]
    return torch.stack(sides)


def ciou(a, b):
    """CIoU of two boxes (4,), whose weight of the proportions has no gradient."""
    width = (torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0])).clamp(min=0)
    height = (torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1])).clamp(min=0)
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    iou = width * height / (sum(areas) - width * height)
    across = torch.maximum(a[2], b[2]) - torch.minimum(a[0], b[0])
    down = torch.maximum(a[3], b[3]) - torch.minimum(a[1], b[1])
    shift = ((a[0] + a[2] - b[0] - b[2]) / 2) ** 2 + ((a[1] + a[3] - b[1] - b[3]) / 2) ** 2
    angles = [torch.atan((x[2] - x[0]) / (x[3] - x[1])) for x in (a, b)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    return iou - shift / (across**2 + down**2) - (v / (1 - iou + v)).detach() * v


def assign(scores, boxes, places, truths, classes, topk=10, widen=None):
    """(truth or None, target score) of each cell of an image.

    ``scores`` (A, K), ``boxes`` A tensors (4,), ``truths`` M tensors (4,); ``widen`` is (below,
    side): sides below the first count as the second.
    """
    inside, overlap, metric, chosen = [], [], [], []
    for truth, label in zip(truths, classes, strict=True):
        x0, y0, x1, y1 = truth.tolist()
        if widen and x1 - x0 < widen[0]:
            x0, x1 = (x0 + x1 - widen[1]) / 2, (x0 + x1 + widen[1]) / 2
        if widen and y1 - y0 < widen[0]:
            y0, y1 = (y0 + y1 - widen[1]) / 2, (y0 + y1 + widen[1]) / 2
        inside.append([a for a, (x, y, _) in enumerate(places) if x0 < x < x1 and y0 < y < y1])
        overlap.append({a: max(0.0, float(ciou(truth, boxes[a]))) for a in inside[-1]})
        metric.append({a: float(scores[a, label]) ** 0.5 * u**6 for a, u in overlap[-1].items()})
        chosen.append(sorted(inside[-1], key=lambda a, m=metric[-1]: -m[a])[:topk])
    owner = {}
    for a in range(len(places)):
        wanted = [t for t in range(len(truths)) if a in chosen[t]]
        if len(wanted) > 1:
            wanted = [t for t in range(len(truths)) if a in inside[t]]
        if wanted:
            owner[a] = max(wanted, key=lambda t: (overlap[t][a], -t))
    found = [(None, 0.0)] * len(places)
    for t in range(len(truths)):
        kept = [a for a, o in owner.items() if o == t]
        for a in kept:
            best = max(metric[t][b] for b in kept)
            top = max(overlap[t][b] for b in kept)
            found[a] = (t, metric[t][a] * top / (best + 1e-9))
    return found


def losses(logits, bins, places, truths, classes, **options):
    """(class, box, distribution) loss with the published gains, of lists with an entry an image.

    ``logits`` (A, K) and ``bins`` (A, 64) of each image, ``truths`` (M, 4) in pixels.
    """
    total, parts = 0.0, [0.0, 0.0, 0.0]
    for image_logits, image_bins, boxes, labels in zip(logits, bins, truths, classes, strict=True):
        decoded = [decode(image_bins[a].detach(), place) for a, place in enumerate(places)]
        scores = image_logits.detach().sigmoid()
        found = assign(scores, decoded, places, list(boxes), labels.tolist(), **options)
        for a, (truth, score) in enumerate(found):
            for k, z in enumerate(image_logits[a]):
                target = score if truth is not None and labels[truth] == k else 0.0
                parts[0] = parts[0] - target * F.logsigmoid(z) - (1 - target) * F.logsigmoid(-z)
            if truth is None:
                continue
            total += score
            x, y, stride = places[a]
            truth = boxes[truth]
            parts[1] = parts[1] + score * (1 - ciou(decode(image_bins[a], places[a]), truth))
            sides = (x - truth[0], y - truth[1], truth[2] - x, truth[3] - y)
            for s, side in enumerate(sides):
                side = min(max(float(side) / stride, 0.0), 14.99)
                log = image_bins[a, 16 * s : 16 * s + 16].log_softmax(0)
                low = math.floor(side)
                bins_loss = -(low + 1 - side) * log[low] - (side - low) * log[low + 1]
                parts[2] = parts[2] + score * bins_loss / 4
    gains = (0.5, 7.5, 1.5)
    return [gain * part / max(total, 1.0) for gain, part in zip(gains, parts, strict=True)]
