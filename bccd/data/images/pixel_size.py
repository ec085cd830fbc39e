"""How large a pixel is, as the file of an image states it."""

import math
import os
import re
from xml.etree import ElementTree

# Micrometres per pixel of a microscope's camera or a slide scanner. What a camera or an editor
# writes for printing is far more: 353 for 72 dots per inch, 85 for 300.
LEAST, MOST = 0.02, 2.0
_SAME = 1.02  # ratio of width and height up to which a pixel is a square
# Micrometres in the units that OME and ImageJ write, lower case.
_MICROMETRES = {
    **dict.fromkeys(("µm", "μm", "um", "micron", "microns", "micrometer", "micrometre"), 1.0),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e3),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e4),
    **dict.fromkeys(("m", "meter", "metre"), 1e6),
    **dict.fromkeys(("in", "inch"), 25400.0),
}
# The same in those of TIFF's tag ResolutionUnit; 1 is no unit.
_RESOLUTION_UNITS = {2: 25400.0, 3: 1e4, 4: 1e3, 5: 1.0}


def read_pixel_size(path: str | os.PathLike) -> float | None:
    """Micrometres per pixel, as a TIFF file states them.

    OME's ``PhysicalSizeX``, ImageJ's unit, the ``MPP`` of Aperio's slides, or else the resolution.

    Args:
        path: an image file of any kind; an ``ImageSource``, too.

    Returns:
        None where nothing is stated that a microscope can have (``LEAST`` to ``MOST``), the pixels
        are no squares, or the file is no TIFF file or damaged: its error comes when it is read.
    """
    try:
        with open(path, "rb") as start:
            if start.read(2) not in (b"II", b"MM"):
                return None
        import tifffile  # takes longer to import than most files take to read

        with tifffile.TiffFile(os.fspath(path)) as file:
            return plausible(*_stated(file))
    except Exception:  # tifffile raises whatever a damaged file makes of it
        return None


def _stated(file):
    """Width and height of a pixel in micrometres, 0 where unknown."""
    page = file.pages.first
    if file.is_ome:
        pixels = ElementTree.fromstring(file.ome_metadata).find(".//{*}Pixels")
        sizes = [_ome_size(pixels, axis) for axis in "XY"]
        return (sizes[0] or sizes[1], sizes[1] or sizes[0])
    if stated := re.search(r"\bMPP\s*=\s*([\d.]+)", page.description if file.is_svs else ""):
        return float(stated[1]), float(stated[1])
    unit = _RESOLUTION_UNITS.get(int(page.tags.valueof("ResolutionUnit", 2)), 0.0)
    if file.is_imagej:
        name = str((file.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ")
        unit = _MICROMETRES.get(name.strip().lower(), 0.0)
    return tuple(_width(page.tags.valueof(f"{axis}Resolution"), unit) for axis in "XY")


def _ome_size(pixels, axis):
    unit = pixels.get(f"PhysicalSize{axis}Unit", "µm").strip().lower()
    return float(pixels.get(f"PhysicalSize{axis}", 0)) * _MICROMETRES.get(unit, 0.0)


def _width(resolution, unit):
    """Of a pixel in micrometres, of a resolution (numerator, denominator) in pixels per unit."""
    numerator, denominator = resolution or (0, 0)
    return unit * denominator / numerator if numerator else 0.0


def plausible(width: float, height: float) -> float | None:
    """The side of a pixel of a width and a height in micrometres that a microscope can have."""
    if not all(math.isfinite(side) and side > 0 for side in (width, height)):
        return None
    is_square = max(width, height) <= _SAME * min(width, height)
    size = (width * height) ** 0.5
    return size if is_square and LEAST <= size <= MOST else None
