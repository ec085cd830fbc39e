"""Fields of any size and magnification, with a detector that knows cells at one magnification."""

import numpy as np
import pytest
import tifffile
from disc_detector import KNOWN, USUAL, DiscDetector, draw_field
from fake_predictor import FakePredictor

from bccd.counting.counter import CellCounter
from bccd.counting.field import ASSUMED, FILE, GIVEN, MEASURED, UNCERTAIN, FieldDetector
from bccd.detections import Detections
from bccd.export.magnification import Magnification, with_margin, without_margin


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0])
def test_the_same_field_at_any_magnification_has_the_same_count(share):
    counter = CellCounter.of(DiscDetector())
    result = counter(draw_field(4, 5, USUAL * share))
    assert result.counts == {"RBC": 20, "WBC": 0, "Platelets": 0}
    assert result.scale.source == MEASURED
    assert result.scale.diameter == pytest.approx(USUAL * share, rel=0.06)
    assert not result.notes


@pytest.mark.parametrize("diameter", [35, 90])
def test_a_large_field_is_counted_whole(diameter):
    result = CellCounter.of(DiscDetector())(draw_field(15, 21, diameter))
    assert result.counts["RBC"] == 15 * 21
    assert result.boxes[:, 2].max() > 19 * diameter  # in pixels of the image


def test_the_detector_sees_cells_as_large_as_it_knows_them():
    detector = DiscDetector()
    image = draw_field(4, 5, 180)
    CellCounter.of(detector)(image)
    height, _ = detector.images[-1]
    assert height == pytest.approx(image.shape[0] * KNOWN / 180, rel=0.05)


def test_an_ordinary_field_is_looked_at_once():
    detector = DiscDetector()
    CellCounter.of(detector)(draw_field(4, 5, USUAL))
    assert len(detector.images) == 1


def test_a_stated_diameter_is_not_measured():
    detector = DiscDetector()
    result = CellCounter.of(detector, red_cell_diameter=45)(draw_field(4, 5, 45))
    assert result.scale == (45, GIVEN) and len(detector.images) == 1
    assert result.counts["RBC"] == 20
    wrong = CellCounter.of(detector, red_cell_diameter=300)(draw_field(4, 5, 45))
    assert wrong.counts["RBC"] == 0


def test_few_red_cells_make_the_scale_uncertain_and_none_leaves_it_assumed():
    few = CellCounter.of(DiscDetector())(draw_field(1, 2, 40))
    assert few.scale.source == UNCERTAIN and "--red-cell-diameter" in few.notes[0]
    none = CellCounter.of(DiscDetector())(np.full((480, 640, 3), 255, np.uint8))
    assert none.scale == (USUAL, ASSUMED) and len(none.notes) >= 1


def test_a_tile_with_as_many_detections_as_there_can_be_is_noted():
    detector = DiscDetector()
    detector.limit = 20
    result = CellCounter.of(detector)(draw_field(4, 5, USUAL))
    assert "there may be more" in result.notes[0]


def test_an_image_too_narrow_for_a_cell_is_refused():
    with pytest.raises(ValueError, match="3000 x 2 pixels show no cell"):
        FieldDetector(DiscDetector(), [0.3] * 3).prepare(np.zeros((2, 3000, 3), np.uint8))


@pytest.mark.parametrize("diameter", [0, -3, float("nan"), float("inf")])
def test_a_diameter_that_is_none_is_refused(diameter):
    with pytest.raises(ValueError, match="diameter"):
        CellCounter.of(DiscDetector(), red_cell_diameter=diameter)


def test_images_smaller_than_the_stated_diameter_are_not_counted_and_do_not_end_a_run():
    counter = CellCounter.of(DiscDetector(), red_cell_diameter=1000)
    (result,) = counter.stream([np.zeros((48, 64, 3), np.uint8)])
    assert result.status == "cannot be resized: 64 x 48 pixels show no cell of 1000 pixels"


def test_one_image_is_no_stream():
    with pytest.raises(TypeError, match="one image"):
        CellCounter.of(DiscDetector()).stream(np.zeros((48, 64, 3), np.uint8))


def test_a_diameter_is_refused_where_the_detector_has_no_magnification():
    with pytest.raises(ValueError, match="of no use"):
        CellCounter.of(FakePredictor(), red_cell_diameter=80)


@pytest.mark.parametrize(
    ("names", "usual", "field", "fixed"),
    [
        (("parasite",), 100.0, (480, 640), ()),
        (("RBC",), 0.0, (480, 640), ()),
        (("RBC",), 100.0, (), ()),
        (("RBC",), 100.0, (480, 640), (300, 300)),
    ],
)
def test_an_unknown_magnification(names, usual, field, fixed):
    assert Magnification.of(names, usual, field, (320, 480), fixed, 1.25) is None


def test_the_known_diameter_is_that_of_the_resized_field():
    found = Magnification.of(("WBC", "red blood cell"), 102, (480, 640), (320, 480), (), 2.0)
    assert found == Magnification(1, 102, pytest.approx(68, rel=0.001), 320 * 427, 2.0)


def test_a_margin_is_put_around_an_image_and_taken_off_the_boxes():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    padded = with_margin(image, (10.4, 20.6, 30.0), least=40)
    assert padded.shape == (40, 40, 3) and padded[0, 0].tolist() == [10, 21, 30]
    np.testing.assert_array_equal(padded[16:18, 16:19], image)
    boxes = np.array([(15, 15, 19, 18), (0, 0, 5, 5)], np.float32)
    found = Detections((40, 40), boxes, np.ones(2, np.float32), np.zeros(2, dtype=int))
    inside = without_margin(found, (2, 3))
    assert inside.image_size == (2, 3) and inside.boxes.tolist() == [[0, 0, 3, 2]]


def detector_of(known, usual, field_pixels, at_once=1.25):
    detector = DiscDetector()
    detector.magnification = Magnification(0, usual, known, field_pixels, at_once)
    return detector


def test_a_detector_of_large_inputs_looks_once_at_an_ordinary_field():
    detector = detector_of(KNOWN, KNOWN, 800 * 1067)
    result = CellCounter.of(detector)(draw_field(8, 11, KNOWN, pitch=1.6))
    assert result.counts["RBC"] == 8 * 11 and len(detector.images) == 1


def test_fields_with_few_large_cells_are_counted_in_tiles_too():
    detector = detector_of(KNOWN, USUAL, 150 * 200)
    assert CellCounter.of(detector)(draw_field(10, 10, USUAL)).counts["RBC"] == 100


def test_what_was_full_while_the_scale_was_sought_is_no_note():
    detector = detector_of(KNOWN, USUAL, 320 * 427, at_once=2.0)
    detector.detection_limit = lambda height, width: 1 if height > 100 else 100
    result = CellCounter.of(detector, thresholds=0.1)(draw_field(1, 1, USUAL))
    assert result.counts["RBC"] == 1 and max(detector.images)[0] > 100
    assert not any("there may be more" in note for note in result.notes)


@pytest.mark.parametrize("diameter", [1e-6, 5, 2000])
def test_a_diameter_that_no_detection_can_follow_is_refused(diameter):
    with pytest.raises(ValueError, match="of 90 pixels, these can be 8 to 1080 wide"):
        CellCounter.of(DiscDetector(), red_cell_diameter=diameter)


def test_a_pixel_size_that_no_detection_can_follow_is_refused_in_its_own_words():
    with pytest.raises(ValueError, match=r"^50 micrometres per pixel, .* are 0\.15 pixels wide: "):
        CellCounter.of(DiscDetector(), micrometres_per_pixel=50)


def test_a_large_field_is_looked_at_as_its_parts_are():
    detector, large = DiscDetector(), draw_field(12, 15, 0.95 * USUAL)
    result = CellCounter.of(detector)(large)
    assert result.scale == (pytest.approx(0.95 * USUAL, rel=0.03), MEASURED)
    assert result.counts["RBC"] == 12 * 15
    # A single field of this diameter would be resized for the usual one, as it is close.
    _, tiles = FieldDetector(detector, [0.5] * 3).plan(large, USUAL)
    assert detector.images[-len(tiles) :] == [(t.bottom - t.top, t.right - t.left) for t in tiles]


@pytest.mark.parametrize("shape", [(12, 12), (12, 30_000), (30_000, 12), (480, 640)])
def test_an_image_of_any_shape_without_a_cell(shape):
    result = CellCounter.of(DiscDetector())(np.full((*shape, 3), 255, np.uint8))
    assert sum(result.counts.values()) == 0 and result.boxes.shape == (0, 4)


def test_a_pixel_size_that_fits_is_used_and_looked_at_once(tmp_path):
    result, looks = count_file(tmp_path, 45, 7.5 / 48)
    assert result.counts["RBC"] == 20 and result.scale == (pytest.approx(48), FILE) and looks == 1
    assert not result.notes
    height, width = result.size
    assert result.area.mm2 == pytest.approx(height * width * (7.5 / 48) ** 2 / 1e6)


def test_a_pixel_size_that_the_cells_contradict_is_noted_and_not_used(tmp_path):
    result, _ = count_file(tmp_path, 45, 7.5 / 100)
    assert result.counts["RBC"] == 20 and result.scale.source == MEASURED
    assert result.scale.diameter == pytest.approx(45, rel=0.06)
    assert "would be 100 pixels wide, but 45 were measured" in result.notes[0]
    assert result.area.mm2 is None


def test_a_resolution_for_printing_changes_nothing(tmp_path):
    result, _ = count_file(tmp_path, 45, 25400 / 72)
    assert result.scale.source == MEASURED and not result.notes


def test_a_pixel_size_is_used_where_there_is_no_cell(tmp_path):
    image = np.full((480, 640, 3), 255, np.uint8)
    path = write_tiff(tmp_path, image, 0.1)
    result = CellCounter.of(DiscDetector())(path)
    assert result.scale == (pytest.approx(75), FILE)


def test_a_given_pixel_size_is_believed():
    counter = CellCounter.of(DiscDetector(), micrometres_per_pixel=7.5 / 45)
    result = counter(draw_field(4, 5, 45))
    assert result.scale == (pytest.approx(45), GIVEN) and result.counts["RBC"] == 20
    assert result.area.micrometres_per_pixel == 7.5 / 45
    with pytest.raises(ValueError, match="micrometres"):
        CellCounter.of(DiscDetector(), micrometres_per_pixel=-1)


def write_tiff(folder, image, micrometres_per_pixel):
    path, dots = folder / "field.tif", 10000 / micrometres_per_pixel
    options = {"resolution": (dots, dots), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image, photometric="rgb", **options)
    return path


def count_file(folder, diameter, micrometres_per_pixel):
    """The result of a field in a TIFF file, and how often the detector looked at it."""
    detector = DiscDetector()
    path = write_tiff(folder, draw_field(4, 5, diameter), micrometres_per_pixel)
    return CellCounter.of(detector)(path), len(detector.images)


def test_a_pixel_size_at_which_no_cell_can_be_found_is_noted(tmp_path):
    path = write_tiff(tmp_path, np.full((480, 640, 3), 255, np.uint8), 1.9)
    result = CellCounter.of(DiscDetector())(path)
    assert result.scale.source == ASSUMED
    assert any("4 pixels wide: the detector does not find such cells" in n for n in result.notes)
