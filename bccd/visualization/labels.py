"""Where the labels of boxes go, so that they keep apart."""

import numpy as np

_CELLS = 1280  # of the grid that notes which places are taken, along the longer side


def place_labels(
    boxes: np.ndarray, sizes: np.ndarray, field: tuple[int, int], gap: float
) -> np.ndarray:
    """Place each label where it covers least of the labels before it.

    The time for one label does not depend on how many there are.

    Args:
        boxes: (P, 4) corners in pixels.
        sizes: (P, 2) widths and heights of the labels, in whole pixels.
        field: (height, width) of the picture; labels stay inside.
        gap: pixels between the middle of a box's line and its label.

    Returns:
        (P, 2) integers, upper left corners (x, y).
    """
    step = max(1, max(field) // _CELLS)  # 1, hence exact, in pictures of the usual size
    covers = np.zeros([-(-side // step) for side in field], np.int32)
    chosen = np.zeros((len(boxes), 2), int)
    spots = _spots(boxes, sizes, field, gap)
    first = spots // step
    last = -(-(spots + sizes[:, None]) // step)
    for i, (low, high) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        shared = []
        for (x0, y0), (x1, y1) in zip(low, high, strict=True):
            shared.append(covers[y0:y1, x0:x1].sum())
            if not shared[-1]:
                break
        best = int(np.argmin(shared))
        (x0, y0), (x1, y1) = low[best], high[best]
        covers[y0:y1, x0:x1] += 1
        chosen[i] = spots[i, best]
    return chosen


def _spots(boxes, sizes, field, gap):
    """(P, 8, 2) places in order of preference: inside the box and around it.

    A label inside would hide a small cell, so there the places around come first.
    """
    (x0, y0), (x1, y1) = boxes[:, :2].T, boxes[:, 2:].T
    width, height = sizes.T
    left, right, top, bottom = x0 + gap, x1 - width - gap, y0 + gap, y1 - height - gap
    above, below = y0 - height - 2 * gap, y1 + 2 * gap
    inside = [(left, top), (left, bottom), (right, top), (right, bottom)]
    around = [(x0, above), (x0, below), (x1 + 2 * gap, y0), (x0 - width - 2 * gap, y0)]
    spots = np.array(inside + around).transpose(2, 0, 1)
    small = (x1 - x0 < 1.3 * width) | (y1 - y0 < 3 * height)
    spots[small] = np.roll(spots[small], 4, axis=1)
    end = np.maximum(np.array(field[::-1]) - sizes - 1, 1)
    return np.clip(np.rint(spots), 1, end[:, None]).astype(int)
