"""Sharpness and exposure of a field, at the detector's scale."""

import cv2
import numpy as np
import pytest

from bccd.counting.image_quality import ImageQuality, median_quality
from bccd.counting.image_quality import measure_quality as measure_parts

KNOWN = 70.0


def measure_quality(*about) -> ImageQuality:
    return median_quality(measure_parts(*about))


def draw(diameter=100, blur=1.5, cells=5, shade=110, size=(480, 640)):
    """Cells on a ground of 210; ``blur`` is the standard deviation in pixels."""
    image = np.full((*size, 3), 210, np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(cells):
        centre = [int(rng.integers(diameter, side - diameter)) for side in size[::-1]]
        cv2.circle(image, centre, diameter // 2, (shade + 60, shade, shade + 40), -1)
    return cv2.GaussianBlur(image, (0, 0), blur)


@pytest.mark.parametrize("sigma", [4.0, 8.0])
@pytest.mark.parametrize("options", [{"cells": 3}, {"cells": 12}, {"shade": 160}])
def test_the_width_of_the_edges_is_that_of_the_blur(sigma, options):
    found = measure_quality(draw(blur=sigma, **options), 100, KNOWN)
    assert found.edge_width == pytest.approx(sigma / 100, rel=0.25)


@pytest.mark.parametrize("factor", [0.3, 0.5, 2.0])
def test_it_is_the_same_at_any_magnification(factor):
    image = draw(blur=7.0)
    first = measure_quality(image, 100, KNOWN)
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    other = cv2.resize(image, None, fx=factor, fy=factor, interpolation=how)
    assert measure_quality(other, 100 * factor, KNOWN).edge_width == pytest.approx(
        first.edge_width, rel=0.15
    )


def test_a_large_field_is_looked_at_in_parts():
    image = draw(cells=250, size=(2400, 3200), blur=6.0)
    assert measure_quality(image, 100, KNOWN).edge_width == pytest.approx(0.06, rel=0.25)


def test_the_parts_of_a_large_field_cover_it():
    image = draw(cells=250, size=(2400, 3200), blur=3.0)
    image[:800, :900] = cv2.GaussianBlur(image[:800, :900], (0, 0), 12.0)
    widths = [part.edge_width for part in measure_parts(image, 100, KNOWN)]
    assert len(widths) == 7 * 9 and 3 <= sum(width > 0.08 for width in widths) <= 9


def test_the_tint_of_nuclei_tells_the_order_of_the_channels():
    image = draw()
    cv2.circle(image, (300, 240), 40, (130, 40, 60), -1)  # violet: green and red are absorbed
    natural = measure_quality(image, 100, KNOWN).tint
    exchanged = measure_quality(image[..., ::-1].copy(), 100, KNOWN).tint
    assert exchanged == pytest.approx(-natural) and exchanged > 0.05
    assert measure_quality(draw(), 100, KNOWN).tint == 0  # red cells alone say nothing


def test_exposure_and_noise():
    image = draw()
    good = measure_quality(image, 100, KNOWN)
    assert good.ground == pytest.approx(210, abs=3) and good.burnt == 0 and good.noise < 1
    assert measure_quality((image * 0.4).astype(np.uint8), 100, KNOWN).ground < 90
    bright = (image * 1.5).clip(0, 255).astype(np.uint8)
    assert measure_quality(bright, 100, KNOWN).burnt > 0.5
    assert good.covered == pytest.approx(5 * np.pi * 50**2 / image[..., 0].size, abs=0.05)
    noise = np.random.default_rng(0).normal(0, 20, image.shape)
    noisy = (image + noise).clip(0, 255).astype(np.uint8)
    assert 6 < measure_quality(noisy, KNOWN, KNOWN).noise < 25


def test_an_image_of_one_colour_has_no_edges():
    found = measure_quality(np.full((60, 80, 3), 200, np.uint8), 100, KNOWN)
    assert found.edge_width == 0 and found.noise == pytest.approx(0, abs=0.4)
