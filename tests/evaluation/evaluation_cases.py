"""Random and hand-made cases, and naive references, for the tests of bccd.evaluation."""

import contextlib
import copy
import io

import numpy as np
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

NAMES = ["RBC", "WBC", "Platelets"]


def coco_gt(boxes, num_images=2):
    """Ground truth from (image, category, x, y, w, h[, iscrowd]); images are 1, 2, ..."""
    annotations = [
        {
            "id": i,
            "image_id": image,
            "category_id": category,
            "bbox": [float(v) for v in (x, y, w, h)],
            "area": float(w * h),
            "iscrowd": crowd[0] if crowd else 0,
        }
        for i, (image, category, x, y, w, h, *crowd) in enumerate(boxes, start=1)
    ]
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480}
        for i in range(1, num_images + 1)
    ]
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, start=1)]
    return {"info": {}, "images": images, "categories": categories, "annotations": annotations}


def detection(image, category, x, y, w, h, score):
    bbox = [float(v) for v in (x, y, w, h)]
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": float(score)}


# Boxes on a coarse grid: equal boxes, IoUs on the thresholds and boxes without area come up often.
_position = st.integers(0, 6).map(lambda v: v * 5)
_side = st.integers(0, 8).map(lambda v: v * 10)
_box = st.tuples(_position, _position, _side, _side)
_image = st.integers(1, 3)
_category = st.integers(1, 3)
_score = st.integers(0, 10).map(lambda v: v / 10) | st.floats(0, 1)


@st.composite
def cases(draw, crowd=True):
    """(ground truth of 3 images and 3 classes, detections), either of them possibly empty."""
    flag = st.sampled_from([0, 0, 0, 1]) if crowd else st.just(0)
    boxes = draw(st.lists(st.tuples(_image, _category, _box, flag), max_size=12))
    found = draw(st.lists(st.tuples(_image, _category, _box, _score), max_size=25))
    truth = coco_gt([(i, k, *box, c) for i, k, box, c in boxes], num_images=3)
    return truth, [detection(i, k, *box, score) for i, k, box, score in found]


def random_case(rng, num_images, num_truth, num_found):
    """A denser case: jittered copies of the true boxes among boxes from nowhere."""

    def box():
        return [*rng.uniform(0, 400, 2), *rng.uniform(10, 120, 2)]

    truth, found = [], []
    for image in range(1, num_images + 1):
        boxes = [(int(rng.integers(1, 4)), box()) for _ in range(num_truth)]
        truth += [(image, k, *b) for k, b in boxes]
        for i in range(num_found):
            k, b = boxes[i % num_truth] if i < 2 * num_truth else (int(rng.integers(1, 4)), box())
            b = np.asarray(b) + rng.normal(0, 6, 4)
            found.append(detection(image, k, *b[:2], *np.maximum(b[2:], 1), rng.random()))
    return coco_gt(truth, num_images), found


def pycocotools_eval(truth, found, max_dets=(1, 10, 100)):
    """pycocotools' COCOeval after accumulate; summarised where it can be."""
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = copy.deepcopy(truth)
        gt.createIndex()
        dt = COCO()  # loadRes takes no empty list
        dt.dataset = {**copy.deepcopy(truth), "annotations": []}
        dt.createIndex()
        evaluation = COCOeval(gt, gt.loadRes(copy.deepcopy(found)) if found else dt, "bbox")
        evaluation.params.maxDets = list(max_dets)
        evaluation.evaluate()
        evaluation.accumulate()
        if max_dets == (1, 10, 100):
            evaluation.summarize()
    return evaluation


def naive_iou(a, b):
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    overlap = max(w, 0.0) * max(h, 0.0)
    union = a[2] * a[3] + b[2] * b[3] - overlap
    return overlap / union if overlap > 0 else 0.0


def naive_match(truth, found, iou, same_class=True):
    """[(detection, matched annotation or None)] by falling score; the truth is without crowds."""
    free, pairs = list(truth["annotations"]), []
    for det in sorted(found, key=lambda d: (-d["score"], d["image_id"])):
        best, best_iou = None, iou
        for box in free:
            if box["image_id"] != det["image_id"]:
                continue
            if same_class and box["category_id"] != det["category_id"]:
                continue
            value = naive_iou(det["bbox"], box["bbox"])
            if value >= best_iou:
                best, best_iou = box, value
        if best is not None:
            free.remove(best)
        pairs.append((det, best))
    return pairs
