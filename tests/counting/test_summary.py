"""What the counts of a folder say together."""

import json

import cv2
import numpy as np
import pytest
from fake_predictor import FakePredictor
from scipy.stats import t as student_t

from bccd import CellCounter
from bccd.cli import main
from bccd.counting import run as counting
from bccd.counting.count_table import CountTable, read_table
from bccd.counting.intervals import CountIntervals
from bccd.counting.options import CountOptions
from bccd.counting.summary import Tally, in_words, student, summarise

NAMES = ("RBC", "WBC", "Platelets")


def tally_of(*fields):
    tally = Tally(NAMES)
    for numbers in fields:
        tally.add(dict(zip(NAMES, numbers, strict=True)))
    return tally


def by_unit(quantities):
    return {(each.name, each.unit): each for each in quantities}


def test_the_quantiles_are_students():
    for freedom in (1, 2, 3, 4, 7, 20, 300):
        assert student(freedom) == pytest.approx(student_t.ppf(0.975, freedom), rel=2e-3)


def test_mean_spread_and_interval_of_a_class():
    red = summarise(tally_of((10, 1, 0), (14, 0, 0), (12, 1, 0), (16, 1, 0)))[0]
    assert (red.value, red.fields) == (13.0, 4)
    assert red.sd == pytest.approx(np.std([10, 14, 12, 16], ddof=1))
    half = student_t.ppf(0.975, 3) * red.sd / 2
    assert (red.low, red.high) == pytest.approx((13 - half, 13 + half), rel=2e-3)


def test_ratios_to_red_cells():
    found = by_unit(summarise(tally_of((200, 1, 10), (200, 3, 14), (100, 1, 6))))
    white = found["WBC", "per 1,000 red cells"]
    assert white.value == pytest.approx(10) and 1 < white.low < 10 < white.high < 60
    assert found["Platelets", "per red cell"].value == pytest.approx(0.06)
    assert by_unit(summarise(tally_of((0, 1, 1))))["WBC", "per 1,000 red cells"].value is None


def test_no_cell_at_all_is_no_certainty():
    found = by_unit(summarise(tally_of(*[(100, 0, 0)] * 10)))
    mean, ratio = found["WBC", "per field"], found["WBC", "per 1,000 red cells"]
    assert (mean.low, mean.value) == (0, 0) and mean.high == pytest.approx(0.369, abs=1e-3)
    assert (ratio.low, ratio.value) == (0, 0) and ratio.high == pytest.approx(3.84, abs=0.01)


def test_intervals_cover_the_rates_of_simulated_smears():
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        density = rng.gamma(8, 1 / 8, size=(8, 1))  # fields differ in how densely they are covered
        fields = rng.poisson(density * (50, 0.8, 4))
        found = by_unit(summarise(tally_of(*fields)))
        truth = {("RBC", "per field"): 50, ("WBC", "per 1,000 red cells"): 16}
        truth["Platelets", "per red cell"] = 0.08
        held.append([found[key].low <= value <= found[key].high for key, value in truth.items()])
    assert (np.mean(held, axis=0) > 0.92).all()


def test_the_errors_of_the_detector_do_not_average_out():
    zeros = (0.0,) * 3
    wrong = CountIntervals(*[zeros] * 5, (0.1,) * 3, zeros, zeros)
    fields = tally_of(*[(99, 1, 5), (101, 1, 5)] * 5000)
    red, white = summarise(fields)[0], summarise(fields)[3]
    assert red.high - red.low < 0.1
    red, white = summarise(fields, wrong)[0], summarise(fields, wrong)[3]
    assert red.high == pytest.approx(110, abs=0.1) and red.low == pytest.approx(100, abs=0.1)
    assert white.low < 9.1 and white.high > 10.9  # of few white cells, or too few red ones


def test_concentrations_only_with_a_factor():
    fields = tally_of((10, 1, 8), (12, 0, 10))
    assert not [each for each in summarise(fields) if each.unit == "per microlitre"]
    (found,) = summarise(fields, microlitre_factors={"Platelets": 15000})[5:]
    assert (found.name, found.value) == ("Platelets", 135000)
    assert in_words(found).startswith("Platelets per microlitre: 135,000, SD 21,213 (95% interval")
    with pytest.raises(ValueError, match=r"has the classes RBC, WBC, Platelets\. .*Platelets"):
        summarise(fields, microlitre_factors={"Platelet": 15000})
    with pytest.raises(ValueError, match="expected more than 0"):
        summarise(fields, microlitre_factors=-1)


@pytest.fixture
def folder(tmp_path):
    for number in range(3):
        image = np.full((48, 64, 3), (200, 180, 220 + number), np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    return tmp_path


def count(folder, **options):
    outcomes = []
    output = str(folder / "out")
    options = CountOptions(output, (str(folder / "*.png"),), pictures=False, **options)
    counting.run(counting.prepare(options, FakePredictor()), outcomes.append)
    return outcomes[0].to_json()


def test_a_folder_has_a_summary(folder, caplog):
    caplog.set_level("INFO", logger="bccd")
    found = count(folder, microlitre_factors={"WBC": 2000.0})
    assert "WBC per 1,000 red cells: 1e+03" in caplog.text or "1,000" in caplog.text
    rows = read_table(folder / "out/summary.csv")
    assert [(row["class"], row["unit"]) for row in rows] == [
        *((name, "per field") for name in NAMES),
        ("WBC", "per 1,000 red cells"),
        ("Platelets", "per red cell"),
        ("WBC", "per microlitre"),
    ]
    assert (rows[0]["value"], rows[0]["sd"], rows[5]["value"]) == ("1.0", "0.0", "2000.0")
    assert found["summary"][5]["value"] == 2000
    json.dumps(found)
    counter = CellCounter.of(FakePredictor())
    summary = counter.summarise(folder, {"WBC": 2000.0})
    assert [each.value for each in summary] == [each["value"] for each in found["summary"]]


def test_a_factor_that_cannot_be_used_is_refused(folder):
    with pytest.raises(ValueError, match="microlitre factor of Wbc"):
        count(folder, microlitre_factors={"Wbc": 2000.0})
    (folder / "film.mp4").touch()
    options = CountOptions(str(folder / "out"), video=str(folder / "film.mp4"))
    with pytest.raises(ValueError, match="show the same cells"):
        counting.prepare(
            CountOptions(options.output, video=options.video, microlitre_factors=2.0),
            FakePredictor(),
        )
    arguments = [str(folder), "-o", str(folder / "out"), "--microlitre-factor", "many"]
    assert main(["count", *arguments]) == 2


def test_a_single_field_has_none(folder):
    count(folder)
    for number in (1, 2):
        (folder / f"{number}.png").unlink()
    assert count(folder)["summary"] == [] and not (folder / "out/summary.csv").exists()


def test_a_corrected_run_has_a_summary_without_the_detectors_errors(folder, capsys):
    count(folder)
    corrected = str(folder / "out/detections.json")
    assert main(["recount", corrected, "-o", str(folder / "again")]) == 0
    assert "RBC per field: 1, SD 0" in capsys.readouterr().out
    first = read_table(folder / "again/counts.csv")[0]
    assert first["RBC"] == "1" and first["RBC_low"] == ""
    assert read_table(folder / "again/summary.csv")[0]["fields"] == "3"


def test_one_field_with_a_factor_has_the_interval_of_cells_that_lie_at_random(folder):
    for number in (1, 2):
        (folder / f"{number}.png").unlink()
    count(folder, microlitre_factors={"WBC": 2000.0})
    white = read_table(folder / "out/summary.csv")[-1]
    assert (white["class"], white["unit"], white["value"]) == ("WBC", "per microlitre", "2000.0")
    # The score interval of a Poisson mean that gave one cell: 0.177 to 5.66.
    assert (float(white["low"]), float(white["high"])) == pytest.approx((353, 11328), rel=1e-3)


def test_slides_are_no_fields(tmp_path):
    with CountTable(tmp_path / "counts.csv", NAMES) as table:
        for white in (1, 3):
            table.add("field.png", {"RBC": 20, "WBC": white})
        table.add("smear.svs", {"RBC": 90_000, "WBC": 100}, is_slide=True)
    fields = by_unit(summarise(table.tally, None, 1000.0))
    assert fields["RBC", "per field"].value == 20 and fields["RBC", "per field"].fields == 2
    slides = summarise(table.slides, None, 1000.0)
    assert {each.unit for each in slides} == {"per slide", "per 1,000 red cells", "per red cell"}
    assert slides[0].value == 90_000 and {each.kind for each in slides} == {"slide"}
    assert in_words(slides[3]).startswith("WBC per 1,000 red cells in slides: 1.11 (")


@pytest.mark.parametrize(("pixels", "warned"), [(10_000, False), (30_000, True)])
def test_fields_of_different_sizes_are_said_to_be_mixed(pixels, warned, caplog):
    tally = Tally(NAMES)
    tally.add({"RBC": 10}, 10_000, 10.0)
    tally.add({"RBC": 30}, pixels, 10.0)
    tally.add({"RBC": 10}, 40_000, 20.0)  # of another magnification, as large as the first
    summarise(tally)
    assert ("mix different fields" in caplog.text) == warned
