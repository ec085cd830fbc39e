"""Regions of interest: reading them, what lies inside, and counting in them."""

import json

import cv2
import numpy as np
import pytest
from fake_predictor import FakePredictor

from bccd.counting.counter import CellCounter
from bccd.counting.regions.per_image import Regions
from bccd.counting.regions.reading import to_region
from bccd.counting.regions.region import MaskRegion, PolygonRegion, RegionError
from bccd.data.images.image_source import ImageSource

SQUARE = [[10, 10], [50, 10], [50, 40], [10, 40], [10, 10]]
HOLE = [[20, 20], [30, 20], [30, 30], [20, 30], [20, 20]]
QUPATH = {
    "type": "FeatureCollection",
    "features": [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [SQUARE, HOLE]},
            "properties": {"objectType": "annotation", "name": "monolayer"},
        },
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [90, 0], [90, 90], [0, 0]]]},
            "properties": {"objectType": "detection"},
        },
    ],
}


def write_geojson(path, content=QUPATH):
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: c["features"], lambda c: c["features"][0]])
def test_annotations_of_qupath_are_read_and_its_cells_are_not(wrap, tmp_path):
    region = to_region(write_geojson(tmp_path / "region.geojson", wrap(QUPATH)))
    inside = region.contains(np.array([(15, 15), (25, 25), (49, 39), (60, 20), (80, 10)]))
    assert inside.tolist() == [True, False, True, False, False]
    assert region.area_in((0, 0, 100, 100)) == 40 * 30 - 10 * 10
    assert region.area_in((0, 0, 25, 25)) == 15 * 15 - 5 * 5


def test_a_polygon_and_its_mask_say_the_same(tmp_path):
    polygon = to_region(write_geojson(tmp_path / "region.geojson"))
    mask = MaskRegion(polygon.to_mask((80, 100)))
    x, y = np.meshgrid(np.arange(5, 100, 10), np.arange(5, 80, 10))
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    np.testing.assert_array_equal(polygon.contains(points), mask.contains(points))
    for rectangle in [(0, 0, 100, 80), (12.5, 15, 33, 31.25), (0, 0, 5, 5)]:
        assert mask.area_in(rectangle) == pytest.approx(polygon.area_in(rectangle), rel=0.1)


def test_a_mask_whose_pixels_stand_for_several():
    small = np.zeros((4, 5), bool)
    small[1, 2] = small[3, 4] = True
    mask = MaskRegion(small).enlarged_to((39, 50))
    mask.check((39, 50))
    assert mask.contains(np.array([(25, 15), (25, 25), (49.9, 38.9)])).tolist() == [
        True,
        False,
        True,
    ]
    assert mask.area_in((0, 0, 50, 39)) == 100 + 10 * 9
    assert mask.area_in((22, 12, 28, 40)) == 6 * 8
    np.testing.assert_array_equal(mask.to_mask((39, 50))[:20, :30].sum(), 100)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("10,10 50,50 50,10 10,50", "does not cross"),
        ("10,10 50,50", "three vertices"),
        ("10,10 50,50 90,90", "no area|outline"),
        (np.zeros((5, 5), bool), "empty"),
    ],
)
def test_what_is_no_area_is_refused(given, message):
    with pytest.raises(RegionError, match=message):
        to_region(given)


def test_files_that_are_no_regions_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.geojson does not exist"):
        to_region(tmp_path / "missing.geojson")
    point = {"type": "Point", "coordinates": [1, 2]}
    with pytest.raises(RegionError, match="Point, which has no area"):
        to_region(write_geojson(tmp_path / "point.geojson", point))
    with pytest.raises(RegionError, match="empty"):
        empty = {"type": "FeatureCollection", "features": []}
        to_region(write_geojson(tmp_path / "empty.geojson", empty))
    (tmp_path / "text.geojson").write_text("{")
    with pytest.raises(RegionError, match="no GeoJSON"):
        to_region(tmp_path / "text.geojson")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(RegionError, match="no mask image"):
        to_region(tmp_path / "text.png")
    cv2.imwrite(str(tmp_path / "photograph.jpg"), np.full((60, 80, 3), 200, np.uint8))
    with pytest.raises(RegionError, match="a photograph is no mask"):
        to_region(tmp_path / "photograph.jpg")
    with pytest.raises(RegionError, match="empty text"):
        Regions("")


def test_a_region_of_another_image_is_refused():
    with pytest.raises(RegionError, match="beyond the image of 80 x 60"):
        PolygonRegion.of_vertices(np.array([(10, 10), (90, 10), (50, 50)])).check((60, 80))
    with pytest.raises(RegionError, match="mask of 40 x 30 pixels, but the image has 80 x 60"):
        MaskRegion(np.ones((30, 40))).check((60, 80))


def test_a_folder_has_a_region_for_each_image(tmp_path):
    cv2.imwrite(str(tmp_path / "one.png"), np.full((60, 80), 255, np.uint8))
    write_geojson(tmp_path / "two.tif#2.geojson")
    regions = Regions(tmp_path)
    assert regions.of(ImageSource.parse("a/one.jpg"), (60, 80)).area_in((0, 0, 80, 60)) == 4800
    two = regions.of(ImageSource(tmp_path / "two.tif", 2), (60, 80))
    assert two.area_in((0, 0, 80, 60)) == 1100
    with pytest.raises(RegionError, match=r"no region for three.jpg, such as three\.geojson"):
        regions.of(ImageSource.parse("three.jpg"), (60, 80))
    before = regions.identity
    write_geojson(tmp_path / "two.tif#2.geojson", QUPATH["features"][0])
    assert Regions(tmp_path).identity != before


@pytest.fixture
def image():
    return np.full((100, 100, 3), 230, np.uint8)


def test_a_cell_counts_where_its_centre_lies_inside(image):
    counter = CellCounter.of(FakePredictor(), 0.1)  # centres (25, 30), (65, 25), (70, 70), (15, 85)
    assert counter(image, region="0,0 60,0 60,60 0,60").counts == dict(RBC=1, WBC=0, Platelets=0)
    mask = np.zeros((100, 100), np.uint8)
    mask[50:] = 255
    result = counter(image, region=mask)
    assert result.counts == dict(RBC=0, WBC=1, Platelets=1)
    assert result.area == (5000, None)
    picture = np.asarray(result.draw())
    assert (picture[5, 5] > 230).all()  # what does not count is pale


def test_halves_add_up_with_the_border_of_the_image(image):
    for border in ("all", "half", "inside"):
        counter = CellCounter.of(FakePredictor(), 0.1, border=border)
        whole = counter(image).counts
        left = counter(image, region="0,0 50,0 50,100 0,100").counts
        right = counter(image, region="50,0 100,0 100,100 50,100").counts
        assert {name: left[name] + right[name] for name in whole} == whole
