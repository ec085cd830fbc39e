"""TIFF files: which of their pages are fields of view, and the pages that Pillow cannot decode.

tifffile, since Pillow knows neither what pages mean (OME, ImageJ) nor colour of more than 8 bits;
OpenCV decodes the latter but knows no pages' meaning either. imagecodecs is what tifffile needs for
compressed pages. Pages of 8 bits are left to Pillow, which gives the pixels that it always gave.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import tifffile

from bccd.data.images.depth import over_white, to_8_bits
from bccd.data.images.image_source import UnreadableImageError

_FIELD_AXES = frozenset("IQTPR")  # sequence, other, time, position, of tifffile's letters
_AXIS_NAMES = {"Z": "planes of focus", "C": "channels", "S": "samples"}
_COLOURS = ("red", "green", "blue")
_SLIDES = ("svs", "ndpi", "scn", "bif", "dng")  # tifffile's names; dng is a camera's
_PACKED = (10, 12, 14)  # depths that a file may store without padding
_SEPARATE = "save each field of view as a file of its own, in colour"


@dataclass(frozen=True)
class TiffField:
    """One field of view.

    Attributes:
        pages: indices of its pages: one in colour or grey, or those of R, G and B.
        width, height: as stored, before ``orientation`` (1 to 8, as in EXIF) turns it.
        bits: that a value takes in the file.
        stated_bits: how many of them are used, where the file says so.
    """

    pages: tuple[int, ...]
    width: int
    height: int
    orientation: int = 1
    bits: int = 8
    stated_bits: int | None = None


def tiff_fields(path: Path) -> list[TiffField]:
    """The fields of view of a TIFF file, in order.

    Pages of a sequence, of times and positions are a field each. Three channels are the colours of
    one field, unless the file names them otherwise. Reduced copies are passed over.

    Returns:
        at least one.

    Raises:
        UnreadableImageError: what the pages are cannot be told, or is no field of view.
    """
    with tifffile.TiffFile(path) as file:
        kinds = [name for name in _SLIDES if getattr(file, f"is_{name}")]
        if kinds:
            raise UnreadableImageError(
                f"is a scanned slide or a camera's raw file ({kinds[0].upper()}), not a field of "
                "view: bccd count and CellCounter.count_slide count slides"
            )
        series = [one for one in file.series if not one.keyframe.is_reduced]
        if not series:
            raise UnreadableImageError("holds nothing but a reduced copy of its image")
        if series[0].kind == "generic" and len(series) > 1:
            raise UnreadableImageError(
                "holds pages of different sizes or kinds, which may be copies or masks of one "
                f"image; {_SEPARATE}"
            )
        channels = _channel_names(file)
        bits = _significant_bits(file)
        return [field for one in series for field in _fields(file, one, channels, bits)]


def _fields(file, series, channels, bits):
    """The fields of one of tifffile's series."""
    # Y, X and S (samples) lie inside a page.
    outer = {a: n for a, n in zip(series.axes, series.shape, strict=True) if a not in "YXS"}
    pages = list(series.pages)
    whole = len(pages) == math.prod(outer.values())
    if not whole or any(page is None or page.parent is not file for page in pages):
        raise UnreadableImageError(f"holds its pages partly elsewhere; {_SEPARATE}")
    indices = np.array([page.index for page in pages]).reshape(list(outer.values()))
    page = series.keyframe
    return [
        TiffField(
            pages=tuple(map(int, row)),
            width=page.imagewidth,
            height=page.imagelength,
            orientation=int(page.tags.valueof("Orientation", 1)),
            bits=page.bitspersample,
            stated_bits=bits or (page.bitspersample if page.bitspersample in _PACKED else None),
        )
        for row in _arrange(indices, list(outer), "S" in series.axes, channels, file.filename)
    ]


def _arrange(indices, axes, colour, channels, name):
    """Indices of the pages (fields, 1 or 3), of their array with an axis for each of ``axes``."""
    sizes = {axis: size for axis, size in zip(axes, indices.shape, strict=True) if size > 1}
    _check_axes(sizes, colour, channels)
    unnamed = sizes.keys() & set("IQ") and not colour  # grey pages in an order without a meaning
    if unnamed and indices.size == 3 and re.search(r"\.ome\.tiff?$", name.lower()):
        return indices.reshape(1, 3)  # an OME-TIFF that has lost its description
    if unnamed:
        raise UnreadableImageError(
            f"holds {indices.size} grey pages and does not say whether they are fields, channels "
            f"or planes of focus; {_SEPARATE}"
        )
    if "C" not in sizes:
        return indices.reshape(-1, 1)
    rows = np.moveaxis(indices, axes.index("C"), -1).reshape(-1, 3)
    return rows[:, [channels.index(name) for name in _COLOURS]] if channels else rows


def _check_axes(sizes, colour, channels):
    """Refuse axes of more than one step that are neither fields nor the colours of one."""
    for axis, size in sizes.items():
        if axis == "C" and size == 3 and not colour and (not channels or _is_rgb(channels)):
            continue
        if axis not in _FIELD_AXES:
            what = _AXIS_NAMES.get(axis, f"steps along the axis {axis}")
            called = f" ({', '.join(channels)})" if axis == "C" and channels else ""
            raise UnreadableImageError(f"holds {size} {what}{called} of a field; {_SEPARATE}")


def _is_rgb(channels):
    return sorted(channels) == sorted(_COLOURS)


def _channel_names(file):
    """Lower-case names of the channels that an OME or ImageJ file states; empty without names."""
    if file.is_ome:
        pixels = _ome_pixels(file)
        channels = [] if pixels is None else pixels.findall("{*}Channel")
        names = [channel.get("Name", "") for channel in channels]
    elif file.is_imagej:
        labels = (file.imagej_metadata or {}).get("Labels", [])
        names = labels if isinstance(labels, list) else [labels]
    else:
        return []
    names = [str(name).strip().lower() for name in names]
    short = {colour[0]: colour for colour in _COLOURS}
    names = [short.get(name, name) for name in names]
    return names if all(names) else []


def _significant_bits(file):
    """OME's statement of how many bits of a value are used."""
    if not file.is_ome:
        return None
    pixels = _ome_pixels(file)
    bits = None if pixels is None else pixels.get("SignificantBits")
    return int(bits) if bits and bits.isdecimal() else None


def _ome_pixels(file):
    """The description of the first image of an OME file; None without one."""
    return ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")


def read_tiff_field(path: Path, field: TiffField) -> np.ndarray:
    """Decode a field of view.

    Returns:
        uint8 array (H, W, 3), RGB, not turned by the file's orientation.

    Raises:
        UnreadableImageError: the colours or values are of a kind that is not read.
        ModuleNotFoundError: it is compressed, and imagecodecs is not installed.
    """
    with tifffile.TiffFile(path) as file:
        pages = [file.pages[index] for index in field.pages]
        parts = [_samples(page.aspage()) for page in pages]
    if len(parts) == 3:
        values, alpha = np.concatenate(parts, axis=2), None
    else:
        values, alpha = _split_alpha(parts[0], pages[0].aspage())
    inverted = pages[0].aspage().photometric == tifffile.PHOTOMETRIC.MINISWHITE
    rgb = to_8_bits(values, field.stated_bits)
    rgb = 255 - rgb if inverted else rgb
    rgb = np.repeat(rgb, 3, axis=2) if rgb.shape[2] == 1 else rgb
    return rgb if alpha is None else over_white(np.concatenate((rgb, to_8_bits(alpha)), axis=2))


def _samples(page):
    """A page's values (H, W, S)."""
    photometric = page.photometric
    known = ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR")
    if photometric not in [tifffile.PHOTOMETRIC[name] for name in known]:
        raise UnreadableImageError(
            f"holds {photometric.name} colours of more than 8 bits; save it as RGB"
        )
    try:
        values = page.asarray()
    except ValueError as error:
        if "requires the 'imagecodecs' package" in str(error):
            raise ModuleNotFoundError(str(error), name="imagecodecs") from error
        raise
    if page.axes == "SYX":
        return np.moveaxis(values, 0, -1)
    if page.axes not in ("YX", "YXS"):
        raise UnreadableImageError(f"holds pages with axes {page.axes}; {_SEPARATE}")
    return values.reshape(*values.shape[:2], -1)


def _split_alpha(values, page):
    """Colour (H, W, 1 or 3) and alpha (H, W, 1) or None."""
    colours = values.shape[2] - len(page.extrasamples)
    extra = [sample.name for sample in page.extrasamples]
    if colours not in (1, 3) or len(extra) > 1:
        raise UnreadableImageError(f"holds {values.shape[2]} channels in a pixel; {_SEPARATE}")
    opaque = not extra or extra[0] == "UNSPECIFIED"
    return values[..., :colours], None if opaque else values[..., colours:]
