"""YOLOv7 written out naively, from the paper and the known behaviour of the authors' program.

The network is a list of numbered layers, as that program numbers them; assignment and losses are
loops over Python numbers, in cells. Predictions are maps (N, A, H, W, 5 + K) of each feature map:
x, y, width, height, objectness, classes.
"""

import math

import torch
from torch.nn import functional as F


def _elan(out, width, hidden, length, taps):
    """Layers of an ELAN: two 1x1, a chain of 3x3, their concatenation, a 1x1."""
    convs = [("conv", -1, width, 1, 1), ("conv", -2, width, 1, 1)]
    return [
        *convs,
        *[("conv", -1, hidden, 3, 1)] * length,
        ("cat", taps),
        ("conv", -1, out, 1, 1),
    ]


def _yolov7():
    def elan(out, width):
        return _elan(out, width, width, 4, [-1, -3, -5, -6])

    def neck(width):
        return _elan(width, width, width // 2, 4, [-1, -2, -3, -4, -5, -6])

    def halve(width, *lateral):
        return [
            ("pool", -1),
            ("conv", -1, width, 1, 1),
            ("conv", -3, width, 1, 1),
            ("conv", -1, width, 3, 2),
            ("cat", [-1, -3, *lateral]),
        ]

    def up(width, lateral):
        return [("conv", -1, width, 1, 1), ("up", -1), ("conv", lateral, width, 1, 1)]

    stem = [("conv", -1, width, 3, s) for width, s in ((32, 1), (64, 2), (64, 1), (128, 2))]
    layers = [*stem, *elan(256, 64)]
    for width, inner in ((128, 128), (256, 256), (512, 256)):
        layers += [*halve(width), *elan(min(4 * inner, 1024), inner)]
    layers += [("sppcspc", -1, 512), *up(256, 37), ("cat", [-1, -2]), *neck(256)]
    layers += [*up(128, 24), ("cat", [-1, -2]), *neck(128)]
    layers += [*halve(128, 63), *neck(256), *halve(256, 51), *neck(512)]
    return [*layers, ("rep", 75, 256), ("rep", 88, 512), ("rep", 101, 1024)]


def _tiny():
    def elan(out, width):
        return _elan(out, width, width, 2, [-1, -2, -3, -4])

    layers = [("conv", -1, 32, 3, 2), ("conv", -1, 64, 3, 2), *elan(64, 32)]
    for out in (128, 256, 512):
        layers += [("pool", -1), *elan(out, out // 2)]
    layers += [("conv", -1, 256, 1, 1), ("conv", -2, 256, 1, 1)]
    layers += [("spp", -1, 5), ("spp", -2, 9), ("spp", -3, 13), ("cat", [-1, -2, -3, -4])]
    layers += [("conv", -1, 256, 1, 1), ("cat", [-1, -7]), ("conv", -1, 256, 1, 1)]
    for out, lateral in ((128, 21), (64, 14)):
        layers += [("conv", -1, out, 1, 1), ("up", -1), ("conv", lateral, out, 1, 1)]
        layers += [("cat", [-1, -2]), *elan(out, out // 2)]
    for out, lateral in ((128, 47), (256, 37)):
        layers += [("conv", -1, out, 3, 2), ("cat", [-1, lateral]), *elan(out, out // 2)]
    return [*layers, *[("conv", x, out, 3, 1) for x, out in ((57, 128), (65, 256), (73, 512))]]


FORMS = {"yolov7": (_yolov7(), F.silu), "tiny": (_tiny(), lambda x: F.leaky_relu(x, 0.1))}


class Network:
    """The outputs of a state dict with the authors' names; or such a dict, if it is empty."""

    def __init__(self, form, weights, *, outputs=24, seed=0):
        self.layers, self.activation = FORMS[form]
        self.weights, self.outputs, self.fill = weights, outputs, not weights
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, x):
        """(N, 3, H, W) to the raw maps (N, outputs, H / 8, W / 8) and so on."""
        results = []
        for number, (kind, source, *options) in enumerate(self.layers):
            name = f"model.{number}"
            if kind == "cat":
                y = torch.cat([results[i] for i in source], dim=1)
            else:
                y = getattr(self, f"_{kind}")(name, results[source] if results else x, *options)
            results.append(y)
        name = f"model.{len(self.layers)}"
        return [self._predict(name, level, y) for level, y in enumerate(results[-3:])]

    def _get(self, name, make):
        if self.fill and name not in self.weights:
            self.weights[name] = make()
        return self.weights[name]

    def _random(self, *shape):
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def _convolve(self, conv, norm, x, out, kernel, stride):
        fan_in = x.shape[1] * kernel**2
        shape = out, x.shape[1], kernel, kernel
        weight = self._get(f"{conv}.weight", lambda: self._random(*shape) * (2 / fan_in) ** 0.5)
        x = F.conv2d(x, weight, stride=stride, padding=kernel // 2)
        scale = self._get(f"{norm}.weight", lambda: 1 + 0.1 * self._random(out))
        shift = self._get(f"{norm}.bias", lambda: 0.1 * self._random(out))
        mean = self._get(f"{norm}.running_mean", lambda: 0.1 * self._random(out))
        var = self._get(f"{norm}.running_var", lambda: self._random(out).square() + 0.5)
        self._get(f"{norm}.num_batches_tracked", lambda: torch.tensor(3))
        return F.batch_norm(x, mean, var, scale, shift, eps=1e-3)

    def _conv(self, name, x, out, kernel, stride):
        return self.activation(self._convolve(f"{name}.conv", f"{name}.bn", x, out, kernel, stride))

    def _rep(self, name, x, out):
        wide = self._convolve(f"{name}.rbr_dense.0", f"{name}.rbr_dense.1", x, out, 3, 1)
        return self.activation(
            wide + self._convolve(f"{name}.rbr_1x1.0", f"{name}.rbr_1x1.1", x, out, 1, 1)
        )

    def _sppcspc(self, name, x, out):
        y = self._conv(f"{name}.cv1", x, out, 1, 1)
        short = self._conv(f"{name}.cv2", x, out, 1, 1)
        y = self._conv(f"{name}.cv4", self._conv(f"{name}.cv3", y, out, 3, 1), out, 1, 1)
        pooled = [self._spp(name, y, size) for size in (5, 9, 13)]
        y = self._conv(f"{name}.cv5", torch.cat([y, *pooled], dim=1), out, 1, 1)
        y = self._conv(f"{name}.cv6", y, out, 3, 1)
        return self._conv(f"{name}.cv7", torch.cat([y, short], dim=1), out, 1, 1)

    def _spp(self, name, x, size):
        return F.max_pool2d(x, size, stride=1, padding=size // 2)

    def _pool(self, name, x):
        return F.max_pool2d(x, 2)

    def _up(self, name, x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    def _predict(self, name, level, x):
        shape = self.outputs, x.shape[1]
        weight = self._get(f"{name}.m.{level}.weight", lambda: self._random(*shape, 1, 1) / 20)
        bias = self._get(f"{name}.m.{level}.bias", lambda: self._random(self.outputs))
        added = self._get(
            f"{name}.ia.{level}.implicit", lambda: self._random(1, x.shape[1], 1, 1) / 50
        )
        factor = self._get(
            f"{name}.im.{level}.implicit", lambda: 1 + self._random(1, self.outputs, 1, 1) / 50
        )
        return factor * F.conv2d(x + added, weight, bias)


def candidates(gt_boxes, anchors, size, stride):
    """Of one map and image: (anchor, row, column, truth), in the order of the authors' program."""
    height, width = size
    found = []
    for move in ("own", "left", "up", "right", "down"):
        for a, (anchor_width, anchor_height) in enumerate(anchors):
            for g, (x0, y0, x1, y1) in enumerate(gt_boxes):
                ratios = (x1 - x0) / anchor_width, (y1 - y0) / anchor_height
                if max(max(r, 1 / r) for r in ratios) >= 4:
                    continue
                x, y = (x0 + x1) / 2 / stride, (y0 + y1) / 2 / stride
                column, row = int(x), int(y)
                across, along, last = (
                    (x, column, width) if move in ("left", "right") else (y, row, height)
                )
                part = across - along
                if move in ("left", "up"):
                    if part >= 0.5 or across <= 1:
                        continue
                    step = -1
                elif move in ("right", "down"):
                    # The second clause: on the line between two cells both are equally near.
                    if not (part > 0.5 or part == 0) or across >= last - 1:
                        continue
                    step = 1 if part else 0
                else:
                    step = 0
                dx = step if move in ("left", "right") else 0
                found.append((a, row + step - dx, column + dx, g))
    return found


def decode(output, anchor, row, column, stride):
    """XYXY in pixels."""
    s = [1 / (1 + math.exp(-v)) for v in output[:4]]
    x, y = (2 * s[0] - 0.5 + column) * stride, (2 * s[1] - 0.5 + row) * stride
    w, h = (2 * s[2]) ** 2 * anchor[0], (2 * s[3]) ** 2 * anchor[1]
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


def box_iou(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    both = max(w, 0) * max(h, 0)
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def cost(output, box, gt_box, gt_class):
    total = -3 * math.log(box_iou(box, gt_box) + 1e-8)
    objectness = 1 / (1 + math.exp(-output[4]))
    for k, logit in enumerate(output[5:]):
        score = math.sqrt(objectness / (1 + math.exp(-logit)))
        total -= math.log(score if k == gt_class else 1 - score)
    return total


def assign(maps, image, gt_boxes, gt_classes, anchors, strides, ota=True):
    """Of one image: a list of (anchor, row, column, truth) for each map."""
    everything = []
    for level, x in enumerate(maps):
        size = tuple(x.shape[2:4])
        for cell in candidates(gt_boxes, anchors[level], size, strides[level]):
            output = x[image, cell[0], cell[1], cell[2]].tolist()
            box = decode(output, anchors[level][cell[0]], *cell[1:3], strides[level])
            everything.append((level, cell, output, box))
    chosen = [[] for _ in everything]
    costs = [
        [cost(output, box, g, k) for _, _, output, box in everything]
        for g, k in zip(gt_boxes, gt_classes, strict=True)
    ]
    for g, gt_box in enumerate(gt_boxes):
        overlaps = sorted((box_iou(box, gt_box) for *_, box in everything), reverse=True)
        order = sorted(range(len(everything)), key=costs[g].__getitem__)
        for index in order[: max(1, int(sum(overlaps[:10])))]:
            chosen[index].append(g)
    found = [[] for _ in maps]
    for index, (level, cell, *_) in enumerate(everything):
        if not ota:
            found[level].append(cell)
        elif chosen[index]:
            truth = chosen[index][0]
            if len(chosen[index]) > 1:
                truth = min(range(len(gt_boxes)), key=lambda g: costs[g][index])
            found[level].append((*cell[:3], truth))
    return found


def ciou(a, b):
    """Of two boxes (cx, cy, w, h), tensors; with gradient except through the trade-off."""
    corners = [(x[0] - x[2] / 2, x[1] - x[3] / 2, x[0] + x[2] / 2, x[1] + x[3] / 2) for x in (a, b)]
    low = [torch.max(*(c[i] for c in corners)) for i in (0, 1)]
    high = [torch.min(*(c[i] for c in corners)) for i in (2, 3)]
    both = (high[0] - low[0]).clamp(min=0) * (high[1] - low[1]).clamp(min=0)
    overlap = both / (a[2] * a[3] + b[2] * b[3] - both)
    wide = [
        torch.max(*(c[i + 2] for c in corners)) - torch.min(*(c[i] for c in corners))
        for i in (0, 1)
    ]
    distance = ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / (wide[0] ** 2 + wide[1] ** 2)
    v = 4 / math.pi**2 * (torch.atan(b[2] / b[3]) - torch.atan(a[2] / a[3])) ** 2
    return overlap - distance - (v / (1 - overlap + v)).detach() * v


def losses(maps, truths, anchors, strides, gains, image_area, ota=True):
    """(box, objectness, class) of a batch; ``truths``: (boxes, classes) lists of each image."""
    found = [
        assign(maps, i, boxes, classes, anchors, strides, ota) if boxes else [[] for _ in maps]
        for i, (boxes, classes) in enumerate(truths)
    ]
    total = [0.0, 0.0, 0.0]
    num_classes = maps[0].shape[-1] - 5
    for level, (x, balance) in enumerate(zip(maps, (4.0, 1.0, 0.4), strict=False)):
        wanted, of_boxes, of_classes = torch.zeros_like(x[..., 0]), [], []
        for image, (boxes, classes) in enumerate(truths):
            for a, row, column, g in found[image][level]:
                output = x[image, a, row, column]
                s = output[:4].sigmoid()
                size = (2 * s[2:]) ** 2 * s.new_tensor(anchors[level][a]) / strides[level]
                box = torch.cat([2 * s[:2] - 0.5, size])
                x0, y0, x1, y1 = (v / strides[level] for v in boxes[g])
                centre = (x0 + x1) / 2 - column, (y0 + y1) / 2 - row
                quality = ciou(box, box.new_tensor([*centre, x1 - x0, y1 - y0]))
                of_boxes.append(1 - quality)
                wanted[image, a, row, column] = quality.detach().clamp(min=0)
                one_hot = [float(k == classes[g]) for k in range(num_classes)]
                of_classes += [
                    F.softplus(logit) - logit * t
                    for logit, t in zip(output[5:], one_hot, strict=True)
                ]
        logits = x[..., 4]
        total[1] = total[1] + balance * (F.softplus(logits) - logits * wanted).mean()
        if of_boxes:
            total[0] = total[0] + sum(of_boxes) / len(of_boxes)
            total[2] = total[2] + sum(of_classes) / len(of_classes)
    scale = 3 / len(maps)
    factors = scale, scale * image_area / 640**2, scale * num_classes / 80
    return [
        len(truths) * gain * factor * loss
        for gain, factor, loss in zip(gains, factors, total, strict=True)
    ]
