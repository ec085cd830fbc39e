"""95% intervals of counts: what they are made of, and that they hold what is true."""

import dataclasses

import numpy as np
import pytest
import yaml
from fake_predictor import FakePredictor

from bccd import CellCounter
from bccd.counting.count_table import read_table
from bccd.counting.fit_intervals import MarkedField, fit_intervals
from bccd.counting.intervals import CountIntervals
from bccd.detections import Detections
from bccd.experiments.intervals import cover
from bccd.export.magnification import Magnification
from bccd.export.stored_intervals import store_intervals

NAMES = ("RBC", "WBC")
VALUES = {
    "thresholds": [0.5] * 3,
    "slope": [1.0] * 3,
    "offset": [0.0] * 3,
    "missed": [0.01] * 3,
    "unforeseen": [0.0] * 3,
    "too_few": [0.0] * 3,
    "too_many": [0.0] * 3,
    "width": [2.0] * 3,
    "datasets": ["a", "b"],
}


def of(**changes):
    return CountIntervals.of(VALUES | changes, ("RBC", "WBC", "Platelets"), "here")


def detections(scores, classes, size=(100, 100)):
    boxes = np.zeros((len(scores), 4), np.float32)
    return Detections(size, boxes, np.array(scores, np.float32), np.array(classes, int))


def make_fields(rng, count, bias=0.0, cells=12):
    """Fields whose detections are cells as often as their scores say, of which none is missed.

    Scores of a laboratory with a ``bias`` are lower (in logits) than they should be.
    """
    fields = []
    for _ in range(count):
        p = rng.beta(0.5, 0.5, size=rng.poisson(2 * cells))
        true = rng.random(len(p)) < p
        logits = np.log(p.clip(1e-4, 1 - 1e-4) / (1 - p).clip(1e-4, 1 - 1e-4)) - bias
        left, top = np.arange(len(p)) * 20.0, np.zeros(len(p))
        boxes = np.stack([left, top, left + 10, top + 10], axis=1)
        scores = (1 / (1 + np.exp(-logits))).astype(np.float32)
        classes = (np.arange(len(p)) % 4 == 0).astype(int)
        found = Detections((100, 100), boxes.astype(np.float32), scores, classes)
        fields.append(MarkedField(found, 10.0, boxes[true], classes[true]))
    return fields


def test_an_interval_of_few_cells_and_of_many():
    sure, unsure = of()(detections([0.9999] * 9, [0] * 9), 0.0), of()(detections([0.6], [1]), 0.0)
    assert sure[0] == (9, 9) and unsure[1] == (0, 1)
    one = of().terms(detections([0.9] * 20 + [0.3] * 5, [0] * 25), 30.0)
    many = one
    for _ in range(99):
        many += one
    (low, high), (lows, highs) = of().bounds(one)[:, 0], of().bounds(many)[:, 0]
    assert low < 20 < high and 100 * (high - low) > 5 * (highs - lows)  # chance cancels out
    lows, highs = of(too_few=[0.1] * 3).bounds(many)[:, 0]
    assert highs >= 2200 and lows > 1900  # the share that is missed does not


def test_nothing_found_is_not_surely_nothing():
    assert of()(detections([], []), 300.0)[2] == (0, 6)  # 3 expected, with a deviation of 1.7


def test_intervals_hold_95_percent_of_further_fields_and_of_their_sums():
    rng = np.random.default_rng(1)
    laboratories = {"one": make_fields(rng, 60), "other": make_fields(rng, 60, bias=1.0)}
    intervals = fit_intervals(NAMES, (0.5, 0.5), laboratories)
    assert intervals.datasets == ("one", "other") and intervals.too_few[0] > 0.03
    for bias in (0.0, 1.0):
        for of_class in cover(intervals, make_fields(rng, 150, bias)):
            assert of_class["coverage"] >= 0.93 and of_class["width"] < 14
            assert min(sums["coverage"] for sums in of_class["sums"].values()) >= 0.93
    alone = fit_intervals(NAMES, (0.5, 0.5), {"one": laboratories["one"]})
    assert alone.slope[0] == pytest.approx(1, abs=0.15)
    assert cover(alone, make_fields(rng, 150, bias=2.0))[0]["sums"]["16"]["coverage"] < 0.9


def test_sure_detections_that_are_wrong_now_and_then_are_accounted_for():
    """One field in 40 has a cell that is marked twice, which no score says: a white cell."""

    def white_cells(twice):
        box = np.array([[10.0, 10, 60, 60]])
        found = Detections((100, 100), box.astype(np.float32), np.float32([0.998]), np.array([1]))
        times = np.repeat(0, 1 + twice)
        return MarkedField(found, 4.0, box[times], np.ones(len(times), int))

    fields = [white_cells(twice=number % 40 == 7) for number in range(80)]
    one = fit_intervals(NAMES, (0.5, 0.5), {"one": fields})
    # Two were seen, and there can be seven; a cell that is missed in two fields is known of.
    known = one.missed[1] * 4.0 * 80
    assert one.unforeseen[1] * 80 + known == pytest.approx(7, rel=0.1) and known < 3
    single, sum_of_40 = fields[0], one.terms(fields[0].found, 4.0)
    for field in fields[1:40]:
        sum_of_40 += one.terms(field.found, 4.0)
    assert one(single.found, single.area)[1] == (1, 1)  # right of 39 in 40
    low, high = one.bounds(sum_of_40)[:, 1]
    assert low <= 40 and 41 <= high <= 44


def test_a_class_that_a_laboratory_does_not_mark_completely_is_chosen_on_the_others():
    rng = np.random.default_rng(1)
    whole = make_fields(rng, 40)
    lacking = [
        dataclasses.replace(
            field,
            boxes=field.boxes[field.classes == 0],
            classes=field.classes[field.classes == 0],
            incomplete=frozenset([1]),
        )
        for field in make_fields(rng, 40)
    ]
    alone = fit_intervals(NAMES, (0.5, 0.5), {"whole": whole})
    both = fit_intervals(NAMES, (0.5, 0.5), {"whole": whole, "lacking": lacking})
    for name in ("slope", "offset", "missed", "unforeseen", "too_few", "too_many", "width"):
        assert getattr(both, name)[1] == pytest.approx(getattr(alone, name)[1]), name
    with pytest.raises(ValueError, match="marked completely in none of lacking"):
        fit_intervals(NAMES, (0.5, 0.5), {"lacking": lacking})


def test_a_laboratory_of_few_fields_is_refused():
    with pytest.raises(ValueError, match="few has 18 fields: a 95% interval needs at least 19"):
        fit_intervals(NAMES, (0.5, 0.5), {"few": make_fields(np.random.default_rng(0), 18)})


def test_values_of_the_config_are_checked():
    assert CountIntervals.of({"WIDTH": (), "DATASETS": ()}, NAMES, "here") is None
    with pytest.raises(ValueError, match=r"here: WIDTH is \(1.0,\); expected a number for each of"):
        of(width=[1.0])
    assert of().to_dict() == VALUES


class Magnified(FakePredictor):
    """The fake's cells at a magnification, with intervals."""

    magnification = Magnification(0, 100.0, 70.0, 320 * 427, 9.0)
    count_intervals = VALUES
    counting_thresholds = dict.fromkeys(("RBC", "WBC", "Platelets"), 0.5)

    def detect_resized(self, image):
        return self.detect(image)

    def detection_limit(self, height, width):
        return None


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(100, 200, (480, 640, 3), dtype=np.uint8)


def test_a_result_has_an_interval_for_each_class(image, tmp_path, caplog):
    counter = CellCounter.of(Magnified(), red_cell_diameter=100)
    result = counter(image)
    assert result.counts == {"RBC": 1, "WBC": 1, "Platelets": 0}
    low, high = result.intervals["RBC"]
    assert low == 0 and 2 <= high <= 4
    counter.to_csv([result], tmp_path / "counts.csv")
    row = read_table(tmp_path / "counts.csv")[0]
    assert (row["RBC_low"], row["RBC_high"]) == (str(low), str(high))
    assert list(row)[-3:] == ["Platelets_low", "Platelets_high", "notes"]


def test_no_interval_where_it_would_not_hold(image, caplog):
    caplog.set_level("INFO", logger="bccd")
    grey = np.repeat(image[..., :1], 3, axis=2)

    class OfFields(Magnified):
        field_size = (480, 640)

    assert CellCounter.of(OfFields(), red_cell_diameter=100)(grey).intervals is None
    other = CellCounter.of(Magnified(), 0.4, red_cell_diameter=100)
    assert other(image).intervals is None and "chosen with others" in caplog.text
    without = CellCounter.of(FakePredictor())(image)
    assert without.intervals is None


def test_a_model_without_intervals_says_so(caplog):
    caplog.set_level("INFO", logger="bccd")

    class Uncalibrated(Magnified):
        count_intervals = None

    CellCounter.of(Uncalibrated())
    assert "have no 95% intervals: tools/calibrate_intervals.py" in caplog.text


def test_intervals_are_stored_beside_a_checkpoint(tmp_path):
    (tmp_path / "config.yaml").write_text("COUNTING:\n  THRESHOLDS: [0.5]\n")
    path = store_intervals(str(tmp_path / "model_best.pth"), VALUES, None)
    counting = yaml.safe_load(path.read_text())["COUNTING"]
    assert counting["THRESHOLDS"] == [0.5] and counting["INTERVALS"]["WIDTH"] == [2.0] * 3
    with pytest.raises(ValueError, match="store them with its checkpoint"):
        store_intervals("model.pt2", VALUES, None)
