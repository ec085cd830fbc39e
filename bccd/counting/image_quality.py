"""How sharp and how well exposed a field is, at the scale at which the detector looks at it.

Measured on green, in which stained cells are darkest. Some libraries measure focus by the energy of
an image's second derivative (as ``cv2.Laplacian``): that depends on how many cells there are and
how dark they are stained. The width of the steepest edges does not.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import cv2
import numpy as np

_PART = 256  # side of the parts of a large field, in pixels as the detector sees them
_CLEARLY = 0.85  # of the ground's brightness
_STEEPEST = 0.99  # share of the pixels that is less steep than the edges that are measured
_DARK, _LEAST_DARK = 2.0, 0.002  # optical density of nuclei, in that of red cells; their area
_LEAST_DENSITY = 0.3  # optical density of all three colours together from which there is a cell
_SOBEL = 8  # what Sobel's filter gives for a slope of one grey value per pixel
# Of a Gaussian edge, the step over the steepest slope; and the median of the absolute value that
# Laplacian gives of noise with a standard deviation of 1.
_STEP, _LAPLACIAN = (2 * np.pi) ** 0.5, 0.6745 * 20**0.5


@dataclass(frozen=True)
class ImageQuality:
    """What can be said of a field without knowing its cells.

    Attributes:
        edge_width: standard deviation of the blur of the sharpest edges, relative to the diameter
            of red cells.
        ground: brightness of the ground between the cells, 0 to 255.
        burnt: share of the pixels without any detail, as all their colours are at the limit.
        covered: share of the pixels that are clearly darker than the ground.
        noise: standard deviation between neighbouring pixels, in grey values.
        tint: of what is darkest, the optical density in blue less that in red, relative to that of
            all colours. Nuclei and platelets absorb more red than blue light, however they are
            stained: about -.3 to 0. Also 0 where nothing is so dark.
    """

    edge_width: float
    ground: float
    burnt: float
    covered: float
    noise: float
    tint: float = 0.0


def measure_quality(image: np.ndarray, diameter: float, known: float) -> list[ImageQuality]:
    """Measure a field, part by part.

    Args:
        image: uint8 array (H, W, 3), BGR.
        diameter: of its red cells, in pixels.
        known: the same at the scale of the detector.

    Returns:
        that of the whole of a small field, or of the parts that cover a large one.
    """
    factor = known / diameter
    return [_measure(part, known) for part in _resized_parts(image, factor)]


def median_quality(parts: Sequence[ImageQuality]) -> ImageQuality:
    """That of most parts."""
    values = [dataclasses.astuple(part) for part in parts]
    return ImageQuality(*np.median(values, axis=0).tolist())


def _resized_parts(image: np.ndarray, factor: float) -> Iterator[np.ndarray]:
    """The whole of a small field, or parts of a large one, at the scale of the detector."""
    side = max(1, round(_PART / factor))
    height, width = image.shape[:2]
    tops, lefts = (
        [0]
        if length <= 2 * side
        else np.linspace(0, length - side, ceil(length / side)).astype(int).tolist()
        for length in (height, width)
    )
    for top in tops:
        for left in lefts:
            bottom = height if len(tops) == 1 else top + side
            right = width if len(lefts) == 1 else left + side
            part = image[top:bottom, left:right]
            if 0.9 < factor < 1.1:
                yield part
                continue
            size = tuple(max(8, round(length * factor)) for length in part.shape[1::-1])
            # Linear is enough for statistics, and six times as fast, down to half the size.
            how = cv2.INTER_LINEAR if factor >= 0.5 else cv2.INTER_AREA
            yield cv2.resize(part, size, interpolation=how)


def _measure(part, known):
    blue, green, red = cv2.split(part)
    shades = _cumulative(green, 256)
    dark, bright = np.searchsorted(shades, (0.02, 0.98))
    covered = shades[int(_CLEARLY * np.searchsorted(shades, 0.97))]
    slopes = cv2.magnitude(*(cv2.Sobel(green, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))))
    steepest = np.searchsorted(_cumulative(slopes, 1024), _STEEPEST) + 0.5
    width = (bright - dark) / (steepest / _SOBEL * _STEP)
    curvature = cv2.absdiff(cv2.Laplacian(green, cv2.CV_32F), 0)
    noise = np.searchsorted(_cumulative(curvature, 1024), 0.5) / _LAPLACIAN
    ground = np.searchsorted(_cumulative(cv2.max(cv2.max(blue, green), red), 256), 0.95)
    burnt = 1 - _cumulative(cv2.min(cv2.min(blue, green), red), 256)[249]
    values = width / known, ground, burnt, covered, noise, _tint(part)
    return ImageQuality(*map(float, values))


def _tint(part):
    """See ``ImageQuality``."""
    small = cv2.resize(part, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    densities = []
    for channel in cv2.split(small):
        ground = max(1, np.searchsorted(_cumulative(channel, 256), 0.95))
        table = -np.log(np.maximum(np.arange(256), 1) / ground).clip(max=0)
        densities.append(table.astype(np.float32)[channel])
    total = sum(densities)
    covered = total[total > _LEAST_DENSITY]
    if not covered.size:
        return 0.0
    dark = total > _DARK * np.median(covered)
    if dark.mean() < _LEAST_DARK:
        return 0.0
    return (densities[0][dark].sum() - densities[2][dark].sum()) / total[dark].sum()


def _cumulative(values, bins):
    """The share of the values below each whole number up to ``bins``, themselves included."""
    counts = cv2.calcHist([values], [0], None, [bins], [0, bins]).ravel()
    return np.cumsum(counts) / values.size
